"""`report`: rebuilds the front page of the reports from the JSON files beside it."""

import argparse
from pathlib import Path


def register(subparsers) -> None:
    """Adds the command."""
    parser = subparsers.add_parser("report", help="rebuild the front page of the reports")
    parser.add_argument(
        "--out", type=Path, default=Path("reports"), metavar="DIR", help="default: %(default)s"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Writes `DIR/README.md`."""
    from bench import frontpage

    print(f"wrote {frontpage.write(args.out)}")
    return 0
