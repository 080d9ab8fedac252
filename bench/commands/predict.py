"""`predict`: writes the segmentation of images as pictures, and in COCO's formats."""

from __future__ import annotations

import argparse
from pathlib import Path

from bench import options


def register(subparsers) -> None:  # noqa: ANN001
    """Adds the command."""
    parser = subparsers.add_parser("predict", help="segment images and draw the result")
    options.add_model_options(parser)
    options.add_weights_options(parser)
    options.add_task_option(parser, "what is written")
    parser.add_argument(
        "--dataset", metavar="NAME", help="whose classes the model has (default: the preset's, the run's)"
    )
    parser.add_argument(
        "--multi-scale", action="store_true", help="mean of six scales, each with its mirror image"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("predictions"), metavar="DIR", help="default: %(default)s"
    )
    parser.add_argument("--device", help="default: cuda where there is one, else cpu")
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Writes the results and prints the names of the files."""

    from bench.data.classes import dataset_classes
    from bench.data.pairs import read_image
    from bench.predict import Predictor
    from bench.train.recipes import test_recipe

    for image in args.images:
        read_image(image)  # a bad file is told before anything is written
    made = options.weighted_model(args, dataset_classes(args.dataset) if args.dataset else None)
    print(made.words)
    device = options.chosen_device(args.device)
    model = made.model.to(device).eval()
    test = test_recipe(made.info.name, model.spec, made.task)
    if args.multi_scale:
        test = test.multi_scale()
    predictor = Predictor(model, made.info, args.task or made.task, test, device, args.out)
    for file in predictor.run(args.images):
        print(f"wrote {file}")
    return 0
