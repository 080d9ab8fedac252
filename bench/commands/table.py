"""`table PAPER TABLE`: regenerates one printed table and writes its report."""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import tables
from bench import mini_options
from bench.errors import UserError, nearest

if TYPE_CHECKING:
    from bench.mini import Setting
    from bench.records import Store
    from bench.speed import Measurement

EVIDENCE = ("counted", "configured", "predicted", "measured", "official-weights", "trained", "mini")
DEFAULT = "counted,configured,predicted,mini"
ALL = "all"


def register(subparsers) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "table", help="regenerate a printed table and compare every cell; alone: the tables there are"
    )
    parser.add_argument("paper", metavar="PAPER", nargs="?", help=f"{', '.join(tables.papers())}; or all")
    parser.add_argument("table", metavar="TABLE", nargs="?", help='as printed: "4", "4a", "iv", "b2"; or all')
    parser.add_argument(
        "--evidence", metavar="KINDS",
        help=f"comma-separated; default: {DEFAULT}, mini only where the table says always",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, default=Path("reports"), metavar="DIR", help="default: %(default)s"
    )
    mini_options.add(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Fills the tables, writes their reports, and prints the verdict lines."""
    began = time.monotonic()
    if args.table is None and args.paper != ALL:
        print("\n".join(tables_there_are(args.paper)))
        return 0
    evidence, names = check(args), chosen(args.paper, args.table)
    from bench import frontpage
    from bench.cells import load_table
    from bench.files import require_writable
    from bench.records import Store

    setting = mini_options.setting(args)
    store, records = Store(), [load_table(*name) for name in names]
    frontpage.require_ours(args.out)
    for folder in dict.fromkeys([*(args.out / record.paper for record in records), args.out]):
        require_writable(folder)
    count(records, evidence, store)
    for record in records:
        began = one_table(record, evidence, args, store, setting, began)
    print(f"wrote {frontpage.write(args.out)}")
    return 0


def count(records: list[tables.TableRecord], evidence: tuple[str, ...], store: "Store") -> None:
    """Counts and predicts what the store lacks, with a progress bar."""
    from tqdm import tqdm

    from bench import counting

    jobs = counting.missing(records, store, evidence)
    images = sum(job.images for job in jobs)
    with tqdm(total=images, desc="counting", unit="image", file=sys.stderr, disable=not jobs or None) as bar:
        counting.prepare(jobs, store, bar.update)


def one_table(
    record: tables.TableRecord,
    evidence: tuple[str, ...],
    args: argparse.Namespace,
    store: "Store",
    setting: "Setting",
    began: float,
) -> float:
    """Writes the report of one table; gives the time when it was done, for the next one's wall time."""
    from bench import environment, report
    from bench.cells import fill
    from bench.render import verdict_line

    kinds = of_table(record, evidence, by_default=args.evidence is None)
    if "mini" in evidence and "mini" not in kinds and args.evidence is not None and args.table != ALL:
        print(f"{record.name} has no mini replication: its rows are no models that can be trained small")
    measurement = measure_speed(record, args) if "measured" in kinds else None
    results = fill(record, kinds, store, measurement)
    mini = run_mini(record, args, store, setting) if "mini" in kinds else None
    if args.save_baseline and mini is not None:
        save_baseline(record, mini)
    box = environment.describe(command_line(record, kinds, args), time.monotonic() - began)
    files = report.write(args.out, record, results, mini, box)
    print(verdict_line(record, results))
    print("\n".join(f"wrote {file}" for file in files))
    return time.monotonic()


def of_table(record: tables.TableRecord, evidence: tuple[str, ...], by_default: bool) -> tuple[str, ...]:
    """The evidence asked for that the table can have: not every table has a mini replication, and some have
    theirs on request only."""
    wanted = record.mini == "always" or (record.mini is not None and not by_default)
    return tuple(kind for kind in evidence if kind != "mini" or wanted)


def chosen(paper: str, table: str | None) -> list[tuple[str, str]]:
    """Papers and tables that are meant by PAPER and TABLE, either of which may be "all".

    Raises RecordError for an unknown one.
    """
    if paper == ALL:
        return [(name, table) for name in tables.papers() for table in tables.tables(name)]
    if table == ALL:
        return [(paper, name) for name in tables.tables(paper)]
    return [(paper, table)]


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
    evidence = parse_evidence(DEFAULT if args.evidence is None else args.evidence)
    mini_options.check(args, evidence)
    if args.paper == ALL and args.table not in (None, ALL):
        raise UserError(f"all papers, but only their table {args.table}? say table all, or name the paper")
    for name in chosen(args.paper, args.table):
        tables.load(*name)
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
    return command + (mini_options.words(args) if "mini" in evidence else "")


def run_mini(
    record: tables.TableRecord, args: argparse.Namespace, store: "Store", setting: "Setting"
) -> dict:
    """The mini replication of every row that has a preset."""
    from bench import mini

    numbers = [row.number for row in record.rows if row.preset]
    return mini.run(
        record, numbers, args.budget, args.seeds, store, progress=True, workers=args.workers, setting=setting
    )


def measure_speed(record: tables.TableRecord, args: argparse.Namespace) -> "Measurement | None":
    """Times the rows of a table that prints frames a second, on this device; None for another table."""
    from tqdm import tqdm

    from bench import environment, speed
    from bench.options import chosen_device

    if not any(column.metric == "fps" for column in record.columns):
        return None
    device = chosen_device(None)
    timed = speed.time_table(
        record, device, turns=lambda rounds: tqdm(rounds, desc="timing", unit="round", file=sys.stderr)
    )
    box = environment.describe("", 0)
    words = box["device"] if device.type == "cuda" else f"{box['device']}, {box['processor']}"
    found = speed.Measurement(
        device=words, torch=box["torch"], operators=box["operators"], date=box["date"], timed=tuple(timed)
    )
    if args.save_baseline:
        print(f"wrote {speed.save(record, found)}")
    return found


def save_baseline(record, mini: dict) -> None:
    """Keeps a mini run as the baseline that every report of the table shows."""
    from bench.files import atomic_write
    from bench.report import baseline_path

    path = baseline_path(record, dataset=mini["dataset"])
    atomic_write(path, json.dumps(mini, indent=1, ensure_ascii=False) + "\n")
