"""`measure PRESET`: parameters and FLOPs of a model by part and operator, as its paper counts and exactly; or
the memory of training it."""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from bench import memory_options
from bench.errors import UserError
from bench.options import parse_change

if TYPE_CHECKING:
    from bench.protocol.params import ParamCount
    from bench.protocol.summary import FlopCount
    from bench.protocol.systems import Pictures, Setting
    from models.spec import Spec


def register(subparsers: Any) -> None:
    """Adds the command to the parser."""
    parser = subparsers.add_parser("measure", help="count the parameters and FLOPs of a model, or its memory")
    parser.add_argument("preset", help="a model, such as mask2former_r50_ade20k")
    parser.add_argument("--size", metavar="HxW", help="image size (default: the paper's size or images)")
    parser.add_argument(
        "--protocol", action="append", default=[], metavar="NAME",
        help="count FLOPs by this protocol (default: the paper's, and flops/exact-v1)",
    )  # fmt: skip
    parser.add_argument(
        "--variant", choices=("released", "paper"), default="released",
        help="where an authors' code and text differ; default: %(default)s",
    )  # fmt: skip
    parser.add_argument(
        "--set", dest="overrides", action="append", default=[], metavar="PATH=VALUE", help="change the model"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    memory_options.add_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prints the counts. Raises SpecError (preset, variant, override or protocol) and UserError (size)."""
    import models
    from bench.protocol import params, systems
    from bench.protocol.images import fixed
    from models.spec import override, to_dict

    spec = models.preset(args.preset, args.variant)
    spec = override(spec, dict(parse_change(text) for text in args.overrides))
    if args.memory:
        found = memory_options.predicted(args, spec, image_size(args.crop, "--crop"))
        if args.json:
            print(json.dumps(memory_options.as_json(args.preset, found)))
        else:
            print("\n".join(memory_options.report(args.preset, found)))
        return 0
    setting = systems.setting(args.preset)
    pictures = fixed(*image_size(args.size)) if args.size else setting.pictures
    counts = flop_counts(args, spec, setting, pictures)
    parameters, convention = params.count(spec), systems.params_protocol(args.preset)
    if args.json:
        described = {
            "preset": args.preset,
            "spec": to_dict(spec),
            "size": counts[0].size if counts else None,
            "params_protocol": convention,
            "flops_protocol": setting.protocol,
        }
        found = {count.protocol: asdict(count) for count in counts}
        print(json.dumps({**described, "params": asdict(parameters), "flops": found}))
    else:
        print("\n".join(report(args.preset, parameters, convention, counts, pictures)))
    return 0


def flop_counts(
    args: argparse.Namespace, spec: Spec, setting: Setting, pictures: Pictures | None
) -> list[FlopCount]:
    """One count for each protocol asked for; none where neither the user nor a paper has a size.

    Raises SpecError (protocol) and UserError (a protocol asked for without a size).
    """
    from bench.protocol import flops, systems

    if pictures is None:
        if args.protocol:
            raise UserError(f"--protocol {args.protocol[0]}: {_no_size(args.preset)}")
        return []
    names = dict.fromkeys(args.protocol or (setting.protocol, systems.EXACT))
    return [flops.average(spec, pictures, name, setting.end) for name in names]


def _no_size(preset: str) -> str:
    return f"no paper counts FLOPs of {preset}, so no image size is known; give --size HxW"


def image_size(text: str, option: str = "--size") -> tuple[int, int]:
    """`HxW`, or one number for a square. Errors: UserError."""
    match = re.fullmatch(r"([1-9]\d*)(?:x([1-9]\d*))?", text.strip().lower())
    if match is None:
        raise UserError(f"{option} {text!r}: expected HxW, such as 512x512")
    return int(match[1]), int(match[2] or match[1])


def report(
    preset: str,
    parameters: ParamCount,
    convention: str,
    counts: list[FlopCount],
    pictures: Pictures | None = None,
) -> list[str]:
    """The lines to print: parameters by part, then one column of FLOPs for each protocol."""
    lines = [", ".join([preset, *map(_images, [pictures] if pictures else [])]), ""]
    by_protocol = {"params/all-v1": parameters.total, "params/trainable-v1": parameters.trainable}
    lines += _rows(f"parameters ({convention})", [by_protocol.pop(convention)], "M", 1e6)
    for name, number in by_protocol.items():
        if parameters.trainable != parameters.total:
            lines += _rows(f"  {name}", [number], "M", 1e6)
    lines += _table("by part", [parameters.by_part], "M", 1e6)
    if not counts:
        return [*lines, "", f"no FLOPs: {_no_size(preset)}"]
    lines += ["", _line("FLOPs (multiply-adds)", [count.protocol for count in counts])]
    lines += _rows("total", [count.total for count in counts], "G", 1e9)
    if counts[0].images > 1:
        lines += _rows("  standard deviation", [round(count.deviation) for count in counts], "G", 1e9)
    lines += _table("by part", [count.by_part for count in counts], "G", 1e9)
    lines += _table("by operator", [count.by_operator for count in counts], "G", 1e9)
    return lines + [note for count in counts for note in _notes(count)]


def _images(pictures: Pictures) -> str:
    if len(pictures) > 1:
        return f"mean over {len(pictures)} images"
    size, output_size = pictures[0]
    results = "" if size == output_size else f", results {output_size[0]}x{output_size[1]}"
    return f"image {size[0]}x{size[1]}{results}"


def _notes(count: FlopCount) -> list[str]:
    """What the protocol leaves out of this model and why, and what nobody wrote a formula for."""
    from bench.protocol.protocols import protocol

    left_out = [name for name, n in count.by_operator.items() if not n]
    why = protocol(count.protocol).why_nothing
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
    return f"{name:<34}" + "".join(f"{column:>34}" for column in columns)
