"""`predict`: writes the segmentation of images as pictures."""

from __future__ import annotations

import argparse
from pathlib import Path

from bench import options


def register(subparsers) -> None:  # noqa: ANN001
    """Adds the command."""
    parser = subparsers.add_parser("predict", help="segment images and draw the result")
    options.add_model_options(parser)
    options.add_weights_options(parser)
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
    """Writes two files an image and prints their names."""

    from bench.data.pairs import read_image
    from bench.predict import predict_file
    from bench.train.recipes import test_recipe

    for image in args.images:
        read_image(image)  # a bad file is told before anything is written
    info = options.classes_of(args)
    model, words = options.weighted_model(args, info.num_classes)
    print(words)
    device = options.chosen_device(args.device)
    model = model.to(device).eval()
    test = test_recipe(info.name, model.spec)
    for image in args.images:
        files = predict_file(
            model, image, args.out, info, test.multi_scale() if args.multi_scale else test, device
        )
        print("\n".join(f"wrote {file}" for file in files))
    return 0
