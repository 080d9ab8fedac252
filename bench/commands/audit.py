"""`audit`: checks the printed numbers against each other and writes what cannot be right."""

import argparse
from pathlib import Path


def register(subparsers) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "audit", help="check the papers' own arithmetic: differences, parts, means, numbers printed twice"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("reports"), metavar="DIR", help="default: %(default)s"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Writes `DIR/audit.md` and `DIR/audit.json`, and prints the counts of every rule."""
    from bench.audit import audit
    from bench.audit.render import headline, markdown, payload
    from bench.files import atomic_files, require_writable
    from bench.render import json_text

    require_writable(args.out)
    found = audit()
    texts = {"audit.md": markdown(found), "audit.json": json_text(payload(found))}
    with atomic_files() as stage:
        for name, text in texts.items():
            stage(args.out / name).write_bytes(text.encode("utf-8"))
    for ruling in found.rulings:
        others = ", ".join(f"{count} {grade}" for grade, count in ruling.counts.items() if count)
        print(f"{ruling.title}: {len(ruling.checks)} checked, {others}")
    print(headline(found))
    print("\n".join(f"wrote {args.out / name}" for name in texts))
    return 0
