"""`measure PRESET --memory`: the memory of one training step, predicted without a GPU."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.protocol.memory import MemoryPrediction
    from models.spec import Spec


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds --memory and what it is predicted for."""
    parser.add_argument(
        "--memory", action="store_true", help="predict the memory of a training step instead; needs no GPU"
    )
    group = parser.add_argument_group("with --memory")
    group.add_argument("--batch", type=int, default=1, help="images on the device; default: %(default)s")
    group.add_argument("--crop", default="512x512", metavar="HxW", help="default: %(default)s")
    group.add_argument(
        "--objects", type=int, default=20, help="masks of each image, COCO has up to 93; default: %(default)s"
    )
    group.add_argument(
        "--amp", choices=("off", "fp16", "bf16"), default="fp16", help="number format; default: %(default)s"
    )
    group.add_argument(
        "--formulation", choices=("authors", "released", "ours"), default="authors",
        help="whose layers: attention written out as on the PyTorch of the papers' day, FASeg's released "
        "averages too, or ours; default: %(default)s",
    )  # fmt: skip


def predicted(args: argparse.Namespace, spec: Spec, crop: tuple[int, int]) -> MemoryPrediction:
    """The prediction that was asked for. Raises SpecError."""
    from bench.protocol.memory import MemorySetting, predict

    setting = MemorySetting(
        batch=args.batch, crop=crop, objects=args.objects, amp=args.amp, formulation=args.formulation
    )
    return predict(spec, setting)


def as_json(preset: str, found: MemoryPrediction) -> dict[str, Any]:
    """The prediction as plain data."""
    from bench.protocol.memory import PROTOCOL

    return {"preset": preset, "protocol": PROTOCOL, **asdict(found), "assumptions": found.assumptions()}


def report(preset: str, found: MemoryPrediction) -> list[str]:
    """The lines to print: the peak, the peak of each phase, what stays, and the assumptions."""
    from bench.protocol.memory import PROCESS, PROTOCOL

    lines = [f"{preset}, {PROTOCOL}", "", _line("peak of a training step", found.peak)]
    lines += [_line("in nvidia-smi", found.by_protocol[PROCESS])]
    lines += [_line(f"  {name}", size) for name, size in found.phases.items() if name]
    lines += ["lives through the whole step"]
    lines += [_line(f"  {name}", size) for name, size in found.rest.items()]
    return [*lines, "", *found.assumptions()]


def _line(name: str, size: int) -> str:
    return f"{name:<34}{size / 2**20:>12,.0f} MiB{size:>19,}"
