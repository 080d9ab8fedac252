"""`table PAPER TABLE`: regenerates one printed table and writes its report."""

import argparse
import json
import sys
import time
from pathlib import Path

import tables
from bench.errors import UserError, nearest

EVIDENCE = ("counted", "predicted", "measured", "official-weights", "trained", "mini", "configured")


def register(subparsers) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "table", help="regenerate a printed table and compare every cell; alone: the tables there are"
    )
    parser.add_argument("paper", metavar="PAPER", nargs="?", help=", ".join(tables.papers()))
    parser.add_argument("table", metavar="TABLE", nargs="?", help='as printed: "4", "4a", "iv", "b2"')
    parser.add_argument(
        "--evidence", default="counted,mini", metavar="KINDS", help="comma-separated; default: %(default)s"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("reports"), metavar="DIR", help="default: %(default)s"
    )
    parser.add_argument("--budget", default="small", metavar="BUDGET", help="of mini: small, medium or large")
    parser.add_argument("--seeds", type=int, default=None, metavar="N", help="of mini; default: the budget's")
    parser.add_argument("--save-baseline", action="store_true", help="also keep the mini run as the baseline")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Fills the table, writes the report, and prints the verdict line."""
    began = time.monotonic()
    if args.table is None:
        print("\n".join(tables_there_are(args.paper)))
        return 0
    evidence = check(args)
    from tqdm import tqdm

    from bench import environment, frontpage, report
    from bench.cells import fill, load_table
    from bench.files import require_writable
    from bench.records import Store
    from bench.render import verdict_line

    check_budget(args.budget)
    store, record = Store(), load_table(args.paper, args.table)
    for folder in (args.out / record.paper, frontpage.require_ours(args.out).parent):
        require_writable(folder)
    results = fill(
        record, evidence, store,
        lambda cells: tqdm(cells, "counting", unit="cell", file=sys.stderr, disable=not cells or None),
    )  # fmt: skip
    mini = run_mini(record, args, store) if "mini" in evidence else None
    if args.save_baseline:
        save_baseline(record, mini)
    box = environment.describe(command_line(record, evidence, args), time.monotonic() - began)
    files = report.write(args.out, record, results, mini, box)
    files.append(frontpage.write(args.out))
    print(verdict_line(record, results))
    print("\n".join(f"wrote {file}" for file in files))
    return 0


def tables_there_are(paper: str | None) -> list[str]:
    """A line for each table of `paper`, or of all papers. Raises RecordError for an unknown paper."""
    return [
        f"{name} {table:<6}{tables.paper(name).name}: {tables.load(name, table).title}"
        for name in ([paper] if paper is not None else tables.papers())
        for table in tables.tables(name)
    ]


def check(args: argparse.Namespace) -> tuple[str, ...]:
    """The evidence asked for. What can be wrong with the options is told here, before torch is loaded.

    Raises UserError, and RecordError for an unknown table.
    """
    evidence = parse_evidence(args.evidence)
    if args.seeds is not None and args.seeds < 1:
        raise UserError(f"--seeds {args.seeds}: at least one seed is needed")
    if args.save_baseline and "mini" not in evidence:
        raise UserError("--save-baseline keeps a mini run; --evidence has no mini")
    tables.load(args.paper, args.table)
    return evidence


def parse_evidence(text: str) -> tuple[str, ...]:
    """The kinds of evidence asked for, in the order of `EVIDENCE`. Raises UserError for an unknown one."""
    kinds = [kind.strip() for kind in text.split(",") if kind.strip()]
    for kind in kinds:
        if kind not in EVIDENCE:
            raise UserError(f"unknown evidence {kind!r}{nearest(kind, EVIDENCE)}")
    if not kinds:
        raise UserError(f"--evidence names no kind; known: {', '.join(EVIDENCE)}")
    return tuple(kind for kind in EVIDENCE if kind in kinds)


def command_line(record, evidence: tuple[str, ...], args: argparse.Namespace) -> str:
    """The command that makes the same report, wherever it is written."""
    command = f"python -m bench table {record.paper} {record.table} --evidence {','.join(evidence)}"
    if "mini" in evidence:
        command += f" --budget {args.budget}" + (f" --seeds {args.seeds}" if args.seeds else "")
    return command


def check_budget(name: str) -> None:
    """Before anything is computed. Raises UserError for an unknown budget."""
    from bench.mini import budget_named

    budget_named(name)


def run_mini(record, args: argparse.Namespace, store) -> dict:
    """The mini replication of every row that has a preset."""
    from bench import mini

    numbers = [row.number for row in record.rows if row.preset]
    return mini.run(record, numbers, args.budget, args.seeds, store, progress=True)


def save_baseline(record, mini: dict) -> None:
    """Keeps a mini run as the baseline that every report of the table shows."""
    from bench.files import atomic_write
    from bench.report import baseline_path

    atomic_write(baseline_path(record), json.dumps(mini, indent=1, ensure_ascii=False) + "\n")
