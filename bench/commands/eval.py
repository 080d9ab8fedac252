"""`eval`: the mIoU of a model with given weights on a dataset, at one scale or at several with flips."""

from __future__ import annotations

import argparse
import json
import sys

from bench import options


def register(subparsers) -> None:  # noqa: ANN001
    """Adds the command."""
    parser = subparsers.add_parser("eval", help="evaluate weights on a dataset")
    options.add_model_options(parser)
    options.add_data_options(parser, "val")
    options.add_weights_options(parser)
    parser.add_argument(
        "--multi-scale", action="store_true", help="mean of six scales, each with its mirror image"
    )
    parser.add_argument("--limit", type=options.positive, metavar="N", help="only the first N images")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--device", help="default: cuda where there is one, else cpu")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prints the scores."""
    from tqdm import tqdm

    from bench.evaluate import semantic_scores
    from bench.evaluate.subset import Subset
    from bench.train.recipes import test_recipe

    data = options.open_data(args)
    model, words = options.weighted_model(args, data.info.num_classes)
    print(words, file=sys.stderr)
    shown = Subset(data, args.limit) if args.limit else data
    test = test_recipe(args.dataset, model.spec)
    device = options.chosen_device(args.device)
    scores = semantic_scores(
        model.to(device), shown, test.multi_scale() if args.multi_scale else test,
        progress=lambda samples: tqdm(samples, "eval", len(shown), disable=not sys.stderr.isatty()),
    )  # fmt: skip
    found = {"images": len(shown), "skipped": list(data.skipped), **scores}
    print(_json(found) if args.json else "\n".join(_lines(found, data.info.classes)))
    return 0


def _json(found: dict) -> str:
    per_class = [None if value != value else value for value in found["per_class"]]
    return json.dumps({**found, "per_class": per_class})


def _lines(found: dict, classes: tuple[str, ...]) -> list[str]:
    lines = [f"{name:<24}{'–' if value != value else f'{value:.2f}':>8}"
             for name, value in zip(classes, found["per_class"], strict=True)]  # fmt: skip
    if found["skipped"]:
        lines.append(options.skipped_line(found["skipped"]))
    scores = ("mIoU", "class_accuracy", "pixel_accuracy")
    return [
        *lines,
        *(f"{name:<24}{found[name]:>8.2f}" for name in scores),
        f"{'images':<24}{found['images']:>8}",
    ]
