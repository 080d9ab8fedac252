"""Which of the weights that authors have published are those of a printed row, or are in a given file."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from bench.accuracy.plan import plan
from bench.errors import UserError
from bench.getting.check import digests
from bench.getting.registry import ReleasedWeights
from bench.getting.weights import releases, why_none
from tables import Cell, Row, TableRecord, load
from tables.metrics import ACCURACY

if TYPE_CHECKING:
    from bench.options import ModelChoice

# The scores on the authors' pages, by the metric of a column.
_PAGE = {
    "pq": "pq", "ap_pan": "ap", "miou_pan": "miou", "ap": "ap", "ap_boundary": "boundary_ap",
    "miou": "miou", "miou_ms": "miou_ms",
}  # fmt: skip

_SAME = Decimal("0.35")  # points: pages and papers round, and some pages report another run
_INFERENCE = "inference"  # overrides that concern what is done with a model's output


def of_row(record: TableRecord, row: Row, key: str) -> ReleasedWeights | None:
    """The published weights of a row's model for the columns with this preset key; None where there are none.

    Of a row that changes nothing, the release whose page prints what the row prints: that tells releases of
    one preset apart, and another paper's training of a method from that method's own weights. Of a row that
    changes only what is done with the model's output, and where page and row have no score in common, the
    usual release.
    """
    changed = {path.split(".")[0] for path in row.overrides}
    if key not in row.preset or changed - {_INFERENCE} or row.variant == "paper":
        return None
    entries = releases(row.preset[key])
    distances = [] if changed else [_distance(record, row, key, entry) for entry in entries]
    known = [distance for distance in distances if distance is not None]
    again = any(cell.provenance == "re-run" for cell in _cells(record, row, key))
    if not known:
        return entries[0] if entries and not again else None
    best = min(known)
    return entries[distances.index(best)] if best <= (0 if again else _SAME) else None


def release(choice: ModelChoice) -> str | None:
    """The name of the released weights of a model: those of its row, where it is a table's; None: the usual
    ones of its preset.

    Raises UserError for a row whose weights were not released.
    """
    if choice.place is None:
        return None
    paper, table, number, key = choice.place
    record = load(paper, table)
    row = record.row(number)
    entry = of_row(record, row, key)
    if entry is None:
        usual = releases(row.preset[key])
        why = f"those of {row.preset[key]} are of another model" if usual else why_none(row.preset[key])
        raise UserError(f"{paper} table {table}, row {number}: no weights of this row were released: {why}")
    return entry.name


def fetched(choice: ModelChoice) -> ReleasedWeights | None:
    """The release that `--weights released` fetches for a model; None where there is none. Raises UserError
    as `release` does."""
    name = release(choice)
    return next((entry for entry in releases(choice.preset or "") if name in (None, entry.name)), None)


def said_to_be(choice: ModelChoice) -> ReleasedWeights | None:
    """The release that a file is if it is the authors' own and their page prints nothing to tell it by.

    None where the page does, and where several could be meant: those of a preset that no row tells apart.
    """
    entries = releases(choice.preset or "")
    if choice.place is not None:
        paper, table, number, key = choice.place
        record = load(paper, table)
        entries = tuple(filter(None, [of_row(record, record.row(number), key)]))
    return entries[0] if len(entries) == 1 and not _is_told(entries[0]) else None


def _is_told(entry: ReleasedWeights) -> bool:
    """Whether its page prints something that tells its file from another."""
    return entry.expected.size is not None or bool(entry.expected.digest)


def in_file(path: Path, entries: Iterable[ReleasedWeights]) -> ReleasedWeights | None:
    """The published weights that a file holds, told by size and printed hash; None where neither is known or
    they differ."""
    for entry in entries:
        expected = entry.expected
        if not _is_told(entry):
            continue
        if expected.size is not None and path.stat().st_size != expected.size:
            continue
        if expected.digest:
            found = digests(path, [expected.algorithm])[expected.algorithm]
            if not found.startswith(expected.digest):
                continue
        return entry
    return None


def _cells(record: TableRecord, row: Row, key: str) -> list[Cell]:
    columns = (c for c in record.columns if c.preset_key == key and c.metric in ACCURACY)
    return [row.cells[c.id] for c in columns if c.id in row.cells and row.cells[c.id].printed]


def _distance(record: TableRecord, row: Row, key: str, entry: ReleasedWeights) -> Decimal | None:
    """The largest difference between the row's numbers and those of the weights' page, in points; None where
    they have none in common."""
    found = []
    for column in record.columns:
        cell = row.cells.get(column.id)
        name = _PAGE.get(column.metric)
        if column.preset_key != key or cell is None or cell.printed is None or name not in entry.scores:
            continue
        asked = plan(column, cell)
        if isinstance(asked, str) or asked.private or asked.corruption or asked.images:
            continue
        found.append(abs(cell.printed.value - Decimal(entry.scores[name])))
    return max(found, default=None)
