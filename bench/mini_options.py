"""The options that say where a mini replication takes place, and how much it spends."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import UserError

if TYPE_CHECKING:
    from bench.mini import Setting


def add(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    group = parser.add_argument_group("mini", "small trainings of every row")
    group.add_argument("--budget", default="small", metavar="BUDGET", help="small, medium or large")
    group.add_argument("--seeds", type=int, default=None, metavar="N", help="default: the budget's")
    group.add_argument(
        "--mini-data", default="embedded", metavar="DATASET",
        help="what is trained and evaluated on: embedded (default) or camvid",
    )  # fmt: skip
    group.add_argument("--root", type=Path, default=None, metavar="DIR", help="folder of the data set")
    group.add_argument(
        "--backbone-weights", type=Path, default=None, metavar="FILE",
        help="start the backbone from these (camvid: EfficientNet-Lite0); default: random weights",
    )  # fmt: skip
    group.add_argument(
        "--workers", type=int, default=None, metavar="N", help="trainings side by side; default: one a core"
    )
    group.add_argument("--save-baseline", action="store_true", help="also keep the mini run as the baseline")


def check(args: argparse.Namespace, evidence: tuple[str, ...]) -> None:
    """What can be wrong with the options alone; loads no torch. Raises UserError."""
    for name in ("seeds", "workers"):
        number = getattr(args, name)
        if number is not None and number < 1:
            raise UserError(f"--{name} {number}: at least one {name.removesuffix('s')} is needed")
    if args.save_baseline and not {"mini", "measured"} & set(evidence):
        raise UserError("--save-baseline keeps a mini run or measured speeds; --evidence has neither")
    if "mini" in evidence:
        return
    if args.mini_data != "embedded" or args.root or args.backbone_weights:
        raise UserError(
            "--mini-data, --root and --backbone-weights are for a mini run; --evidence has no mini"
        )


def setting(args: argparse.Namespace) -> Setting:
    """Where the run takes place. Raises UserError for an unknown data set or budget, a missing weights file,
    and data that is not there."""
    from bench.mini import Setting

    found = Setting(
        data=args.mini_data,
        root=None if args.root is None else str(args.root),
        weights=None if args.backbone_weights is None else str(args.backbone_weights),
    )
    found.require(found.budget(args.budget))
    return found


def words(args: argparse.Namespace) -> str:
    """The options as part of a command that anybody can run: their own folders stand for ours."""
    text = f" --budget {args.budget}" + (f" --seeds {args.seeds}" if args.seeds else "")
    if args.mini_data != "embedded":
        text = f" --mini-data {args.mini_data} --root DIR{text}"
    return text + (" --backbone-weights FILE" if args.backbone_weights else "")
