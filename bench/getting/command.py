"""`data get`: downloads a data set, or says where it is to be had."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path


def add_get(actions: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Adds the command to those of `data`."""
    parser = actions.add_parser("get", help="download a data set, or say where it is to be had")
    parser.add_argument("name", metavar="NAME", nargs="?", help="default: list what there is")
    parser.add_argument("--root", type=Path, metavar="DIR", help="folder to download to")
    parser.add_argument(
        "--part", action="append", default=[], metavar="PART", help="may be repeated; default: all parts"
    )
    parser.add_argument(
        "--extract", action="store_true", help="unpack the zips too (they can be read as they are)"
    )
    return parser


def get(args: argparse.Namespace) -> Iterator[str]:
    """Downloads, or lists what there is; gives the lines to be printed, as it goes. Raises UserError."""
    from bench.errors import UserError
    from bench.files import require_writable
    from bench.getting.data import chosen_parts, get_data, published
    from bench.getting.download import gigabytes
    from bench.getting.report import Bar

    if args.name is None:
        yield from _list()
        return
    parts = chosen_parts(args.name, args.part)
    if args.root is None:
        raise UserError(f"data get {args.name}: where to? give --root DIR")
    require_writable(args.root)
    sizes = [part.expected.size for part in parts]
    about = f", {gigabytes(sum(sizes))}" if None not in sizes else ""
    yield f"{published(args.name).title}{about}; licence: {published(args.name).licence}"
    with Bar() as bar:
        for path in get_data(args.name, args.root, args.part, extract=args.extract, report=bar):
            yield f"{path}: {gigabytes(path.stat().st_size)}, checked"
    yield f"python -m bench data verify --dataset {args.name} --root {args.root}   checks its content"


def _list() -> Iterator[str]:
    from bench.getting.download import gigabytes
    from bench.getting.registry import registry

    for found in registry().datasets.values():
        yield f"{found.name}: {found.title}, licence: {found.licence}\n  {found.page}"
        if found.how:
            yield f"  by hand: {found.how}"
        for part in found.parts:
            size = f", {gigabytes(part.expected.size)}" if part.expected.size else ""
            yield f"  --part {part.name:<12} {part.holds}{size}"
