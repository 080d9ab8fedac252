"""Which published orderings a mini replication bears out: by rule, from intervals.

Two rows are compared where a reader would: each with the table's reference row, and with the row above.
An ordering is a published difference that is not zero, in one printed column. It holds where the 95 %
interval of our difference (Welch) leaves out zero on the published side, does not hold where it leaves out
zero on the other side, and cannot be told where it includes zero.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.spread import Difference, welch
from tables import Column, TableRecord
from tables.metrics import ACCURACY

HOLDS, REVERSED, UNTOLD = "holds", "does not hold", "cannot be told"
VERDICTS = (HOLDS, REVERSED, UNTOLD)


@dataclass(frozen=True, kw_only=True)
class Ordering:
    """`row` minus `other` (numbers, from 1): published in `column`, and found, in points."""

    row: int
    other: int
    column: Column
    published: float
    found: Difference

    @property
    def verdict(self) -> str:
        """One of `VERDICTS`."""
        return verdict(self.published, self.found)


def verdict(published: float, found: Difference) -> str:
    """What our difference says of a published one that is not zero."""
    if not found.told:
        return UNTOLD
    return HOLDS if (found.mean > 0) == (published > 0) else REVERSED


def reference(record: TableRecord, rows: Sequence[int]) -> int:
    """The row among `rows` that a table compares with: the one its printed differences are from, else the
    first that changes nothing of its preset, the system as it is; else the first."""
    printed = [record.row(row).delta_from for row in rows]
    plain = [row for row in rows if not record.row(row).overrides]
    return next((row for row in (*printed, *plain) if row in rows), rows[0])


def references(record: TableRecord, rows: Sequence[int]) -> dict[int, int]:
    """The row that each row is compared with; the reference row itself is not among the keys."""
    common = reference(record, rows)
    found = {}
    for row in rows:
        printed = record.row(row).delta_from
        other = printed if printed in rows else common
        if other != row:
            found[row] = other
    return found


def pairs(record: TableRecord, mini: dict) -> list[tuple[int, int]]:
    """The pairs (row, other) that are compared, each once; without rows that are one model when small."""
    model = {entry["row"]: entry.get("same_as", entry["row"]) for entry in mini["rows"]}
    rows = list(model)
    found = {frozenset(pair): pair for pair in references(record, rows).items()}
    for row, above in zip(rows[1:], rows[:-1], strict=True):
        found.setdefault(frozenset((row, above)), (row, above))
    return sorted(pair for pair in found.values() if model[pair[0]] != model[pair[1]])


def comparable(record: TableRecord) -> list[Column]:
    """The accuracy columns that our mIoU stands for: those of mIoU, or all where there is none."""
    columns = [column for column in record.columns if column.metric in ACCURACY]
    return [column for column in columns if column.metric == "miou"] or columns


def published(record: TableRecord, row: int, other: int, columns: Sequence[Column]) -> dict[str, float]:
    """The printed difference of two rows by column, where both are printed."""
    found = {}
    for column in columns:
        cells = [record.row(number).cells.get(column.id) for number in (row, other)]
        printed = [cell.printed for cell in cells if cell is not None and cell.printed is not None]
        if len(printed) == 2:
            found[column.id] = float(printed[0].value - printed[1].value)
    return found


def orderings(record: TableRecord, mini: dict) -> list[Ordering]:
    """Every published ordering of a table that a mini result (as `bench.mini.run` gives it) can speak of."""
    scores = {entry["row"]: entry["scores"] for entry in mini["rows"]}
    columns = {column.id: column for column in comparable(record)}
    return [
        Ordering(
            row=row, other=other, column=columns[name], published=size,
            found=welch(scores[row], scores[other]),
        )
        for row, other in pairs(record, mini)
        for name, size in published(record, row, other, list(columns.values())).items()
        if size
    ]  # fmt: skip
