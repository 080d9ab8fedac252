"""`report`: rebuilds the front page of the reports from the JSON files beside it, and the page of the mini
replications from the committed runs."""

import argparse
from pathlib import Path


def register(subparsers) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "report", help="rebuild the front page of the reports and the page of the mini replications"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("reports"), metavar="DIR", help="default: %(default)s"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Writes `DIR/mini.md` and `DIR/README.md`."""
    from bench import frontpage, minipage

    frontpage.require_ours(args.out)
    if (page := minipage.write(args.out)) is not None:
        print(f"wrote {page}")
    print(f"wrote {frontpage.write(args.out)}")
    return 0
