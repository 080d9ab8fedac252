"""`eval`: what a model with given weights scores on a dataset: mIoU (at one scale or at several with flips),
PQ or AP."""

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
    options.add_task_option(parser, "what is scored")
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

    from bench.evaluate import evaluate
    from bench.evaluate.subset import Subset
    from bench.tasks import SHOWN, TaskView, require_labels, things_first
    from bench.train.recipes import test_recipe

    data = options.open_data(args)
    made = options.weighted_model(args, data.info)
    print(made.words, file=sys.stderr)
    task = args.task or made.task
    shown = TaskView(
        Subset(data, args.limit) if args.limit else data, made.task, things_first(made.model.spec)
    )
    require_labels(shown, task)
    test = test_recipe(args.dataset, made.model.spec)
    device = options.chosen_device(args.device)
    scores = evaluate(
        made.model.to(device), shown, task, test.multi_scale() if args.multi_scale else test,
        progress=lambda samples: tqdm(samples, "eval", len(shown), disable=not sys.stderr.isatty()),
    )  # fmt: skip
    found = {"images": len(shown), "skipped": list(data.skipped), "task": task, **scores}
    print(_json(found) if args.json else "\n".join(_lines(found, made.info.classes, SHOWN[task])))
    return 0


def _json(found: dict) -> str:
    """JSON has no NaN."""
    per_class = [None if value != value else value for value in found["per_class"]]
    return json.dumps(
        {**{key: None if value != value else value for key, value in found.items()}, "per_class": per_class}
    )


def _lines(found: dict, classes: tuple[str, ...], scores: tuple[str, ...]) -> list[str]:
    lines = [_line(name, value) for name, value in zip(classes, found["per_class"], strict=True)]
    if found["skipped"]:
        lines.append(options.skipped_line(found["skipped"]))
    return [*lines, *(_line(name, found[name]) for name in scores), f"{'images':<24}{found['images']:>8}"]


def _line(name: str, value: float) -> str:
    return f"{name:<24}{'–' if value != value else f'{value:.2f}':>8}"
