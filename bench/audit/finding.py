"""What a rule says about one relation between printed numbers."""

import functools
import re
from dataclasses import dataclass

import tables
from tables import Cell, Column, Row, TableRecord

RIGHT = "right"
HARD = "hard"
SOFT = "soft"
EXPLAINED = "explained"

GRADES = {
    HARD: "cannot be right, by whichever one way a paper rounds its numbers",
    SOFT: "unusual, or right only by digits that are not printed",
    EXPLAINED: "differs, and a general cause accounts for it",
}


_PRINTED = re.compile(r"(?:Table|Figure) [\w.]+|\w+")


def printed_in(record: TableRecord) -> str:
    """Paper and table as people call them: "PFT Table II", "Panoptic SegFormer Figure 1"."""
    found = _PRINTED.match(record.source)
    return f"{paper_name(record.paper)} {found[0] if found else record.table}"


@functools.cache
def paper_name(paper: str) -> str:
    """The name of a paper, or its id where it has no record."""
    return tables.paper(paper).name if paper in tables.papers() else paper


@dataclass(frozen=True)
class Place:
    """Where a number is printed. `row` and `column` are those of the file in tables/, `printed_in` is for
    people: "FASeg Table 4".
    """

    paper: str
    table: str
    row: int
    column: str
    printed_in: str
    row_label: str
    column_label: str

    @classmethod
    def of(cls, record: TableRecord, row: Row, column: Column) -> "Place":
        return cls(
            record.paper, record.table, row.number, column.id, printed_in(record), row.label, column.label
        )

    @property
    def key(self) -> tuple[str, str, int, str]:
        return (self.paper, self.table, self.row, self.column)


@dataclass(frozen=True)
class Printing:
    """A printed number with everything that says what it is a number of."""

    record: TableRecord
    row: Row
    column: Column
    cell: Cell

    @property
    def place(self) -> Place:
        return Place.of(self.record, self.row, self.column)


@dataclass(frozen=True, kw_only=True)
class Check:
    """One relation that was checked.

    `arithmetic` shows it with its numbers; `disputed` are the printed numbers that, if the grade is hard,
    count as wrong, and `instead` those that do where another rule confirms all of them.
    """

    grade: str
    places: tuple[Place, ...]
    arithmetic: str
    disputed: tuple[Place, ...] = ()
    instead: tuple[Place, ...] = ()


def printings(record: TableRecord) -> list[Printing]:
    """Every printed number of a table, row by row."""
    return [
        Printing(record, row, column, row.cells[column.id])
        for row in record.rows
        for column in record.columns
        if row.cells[column.id].printed is not None
    ]


def by_metric(record: TableRecord, row: Row) -> list[dict[str, Printing]]:
    """The numbers of a row by metric, apart for each data set, split and preset that the table has.

    A metric that a data set has twice has no single column, and is left out.
    """
    groups: dict[tuple, dict[str, list[Printing]]] = {}
    for column in record.columns:
        cell = row.cells[column.id]
        if cell.printed is None:
            continue
        group = groups.setdefault((column.dataset, column.split, column.preset_key), {})
        group.setdefault(column.metric, []).append(Printing(record, row, column, cell))
    return [{name: found[0] for name, found in group.items() if len(found) == 1} for group in groups.values()]
