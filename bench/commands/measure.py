"""`measure PRESET`: parameters and FLOPs of a model, by part and by operator, under every FLOP protocol."""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from bench.errors import UserError
from bench.options import parse_change

if TYPE_CHECKING:
    from bench.protocol.params import ParamCount
    from bench.protocol.summary import FlopCount

FLOPS = ("flops/fvcore-v1", "flops/exact-v1")


def register(subparsers: Any) -> None:
    """Adds the command to the parser."""
    parser = subparsers.add_parser("measure", help="count the parameters and FLOPs of a model")
    parser.add_argument("preset", help="a model, such as mask2former_r50_ade20k")
    parser.add_argument("--size", metavar="HxW", help="image size (default: the paper's)")
    parser.add_argument(
        "--variant", choices=("released", "paper"), default="released",
        help="where an authors' code and text differ; default: %(default)s",
    )  # fmt: skip
    parser.add_argument(
        "--set", dest="overrides", action="append", default=[], metavar="PATH=VALUE", help="change the model"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prints the counts. Raises SpecError (preset, variant or override) and UserError (size)."""
    import models
    from bench.protocol import flops, params
    from bench.protocol.sizes import paper_size
    from models.spec import override, to_dict

    spec = models.preset(args.preset, args.variant)
    spec = override(spec, dict(parse_change(text) for text in args.overrides))
    size = image_size(args.size) if args.size else paper_size(args.preset)
    if size is None:
        raise UserError(f"no image size is known for {args.preset}; give --size HxW")
    parameters = params.count(spec)
    counts = [flops.count(spec, size=size, protocol=protocol) for protocol in FLOPS]
    if args.json:
        found = {count.protocol: asdict(count) for count in counts}
        described = {"preset": args.preset, "spec": to_dict(spec), "size": size}
        print(json.dumps({**described, "params": asdict(parameters), "flops": found}))
    else:
        print("\n".join(report(args.preset, size, parameters, counts)))
    return 0


def image_size(text: str) -> tuple[int, int]:
    """`HxW`, or one number for a square. Errors: UserError."""
    match = re.fullmatch(r"([1-9]\d*)(?:x([1-9]\d*))?", text.strip().lower())
    if match is None:
        raise UserError(f"--size {text!r}: expected HxW, such as 512x512")
    return int(match[1]), int(match[2] or match[1])


def report(preset: str, size: tuple[int, int], parameters: ParamCount, counts: list[FlopCount]) -> list[str]:
    """The lines to print: parameters by part, then one column of FLOPs for each protocol."""
    lines = [f"{preset}, image {size[0]}x{size[1]}", "", *_rows("parameters", [parameters.total], "M", 1e6)]
    lines += _table("by part", [parameters.by_part], "M", 1e6)
    if parameters.trainable != parameters.total:
        lines += _rows("  trainable", [parameters.trainable], "M", 1e6)
    lines += ["", _line("FLOPs (multiply-adds)", [count.protocol for count in counts])]
    lines += _rows("total", [count.total for count in counts], "G", 1e9)
    lines += _table("by part", [count.by_part for count in counts], "G", 1e9)
    lines += _table("by operator", [count.by_operator for count in counts], "G", 1e9)
    return lines + [note for count in counts for note in _notes(count)]


def _notes(count: FlopCount) -> list[str]:
    """What the protocol leaves out of this model and why, and what nobody wrote a formula for."""
    from bench.protocol.rules import PROTOCOLS

    why, left_out = (
        PROTOCOLS[count.protocol].why_nothing,
        [name for name, n in count.by_operator.items() if not n],
    )
    lines = [f"{count.protocol} counts 0 for {name} ({why(name)})" for name in left_out]
    lines += [f"{count.protocol} lacks a formula for {op} ({n} calls)" for op, n in count.uncounted.items()]
    return ["", *lines] if lines else []


def _table(title: str, columns: list[dict[str, int]], unit: str, scale: float) -> list[str]:
    names = dict.fromkeys(name for column in columns for name in column)
    rows = [_rows(f"  {name}", [column.get(name, 0) for column in columns], unit, scale)[0] for name in names]
    return [title, *rows]


def _rows(name: str, values: list[int], unit: str, scale: float) -> list[str]:
    return [_line(name, [f"{value / scale:,.3f} {unit} {value:>19,}" for value in values])]


def _line(name: str, columns: list[str]) -> str:
    return f"{name:<32}" + "".join(f"{column:>34}" for column in columns)
