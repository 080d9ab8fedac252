"""`regress`: what a change of the code moved, against the committed baseline."""

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.errors import UserError, nearest

NAMES = ("settings", "counts", "systems", "mini", "operators")


def register(subparsers: argparse._SubParsersAction) -> None:
    """Adds the command."""
    parser = subparsers.add_parser("regress", help="what moved since the committed baseline; exits 1 if any")
    parser.add_argument("--only", metavar="CHECKS", help=f"comma-separated; default: {','.join(NAMES)}")
    parser.add_argument("--update", action="store_true", help="make today's numbers the baseline")
    parser.add_argument("--because", metavar="TEXT", help="why; kept with the baseline")
    parser.add_argument(
        "--summary", type=Path, metavar="FILE",
        help="Markdown summary (default: the page of a GitHub job, if this is one)",
    )  # fmt: skip
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measures, compares or updates, and prints what moved."""
    names = chosen(args)
    from bench.regress import CHECKS, Baseline
    from bench.regress.baseline import BASELINE
    from bench.regress.check import platform_name

    platform = platform_name()
    baseline = Baseline() if args.update and not BASELINE.exists() else Baseline.read(BASELINE)
    if args.update:
        for name in names:
            baseline.update(name, CHECKS[name], platform, _measure(name))
        baseline.write(args.because.strip(), names, platform)
        print(f"wrote {BASELINE}")
        return 0
    return _compare(names, baseline, platform, args.summary)


def chosen(args: argparse.Namespace) -> list[str]:
    """The checks asked for, in their order. Raises UserError for an unknown one, and for an update without a
    reason."""
    if args.update != bool((args.because or "").strip()):
        raise UserError('--update and --because "..." go together: a new baseline says why')
    asked = [name.strip() for name in (args.only or ",".join(NAMES)).split(",") if name.strip()]
    for name in asked:
        if name not in NAMES:
            raise UserError(f"no check {name!r}{nearest(name, NAMES)}")
    if not asked:
        raise UserError(f"--only names no check; known: {', '.join(NAMES)}")
    return [name for name in NAMES if name in asked]


def _compare(names: list[str], baseline, platform: str, target: Path | None) -> int:
    from bench.files import atomic_write
    from bench.regress import CHECKS, summary

    changes, quantities, notes = {}, {}, []
    for name in names:
        check = CHECKS[name]
        known = baseline.of(name, check, platform)
        if known is None:
            raise UserError(f"the baseline has no {name}; --only {name} --update --because TEXT adds them")
        began, now = time.monotonic(), _measure(name)
        was, same = known
        changes[check.title], quantities[check.title] = list(check.compare(was, now, same)), len(now)
        notes.append(f"{check.title}: {time.monotonic() - began:.0f} s" + ("" if same else _OTHER))
    text = summary(changes, quantities, notes)
    print(text, end="")
    if target is not None:
        atomic_write(target, text)
    elif page := os.environ.get("GITHUB_STEP_SUMMARY"):
        with open(page, "a", encoding="utf-8") as file:
            file.write(text)
    return int(any(changes.values()))


_OTHER = "; the baseline is of another kind of machine, so rounding is allowed for"


def _measure(name: str) -> dict[str, list[float]]:
    from bench.regress import CHECKS

    return CHECKS[name].measure(_progress)


@contextmanager
def _progress(total: int, label: str) -> Iterator[Callable[[int], object]]:
    from tqdm import tqdm

    with tqdm(total=total, desc=label, file=sys.stderr, leave=False, disable=None) as bar:
        yield bar.update
