"""Differences printed beside numbers."""

from collections.abc import Iterator, Sequence

from bench.audit.difference import judge
from bench.audit.finding import Check, Place
from tables import TableRecord
from tables.record import parse

NAME = "deltas"
TITLE = "Printed differences"
SAYS = "A difference printed beside a number is that number minus the one of the row it is counted from."


def check(records: Sequence[TableRecord]) -> Iterator[Check]:
    """Every printed difference whose row says what it is counted from and has a number there."""
    for record in records:
        for row in record.rows:
            if row.delta_from is None:
                continue
            base = record.row(row.delta_from)
            for column in record.columns:
                cell, other = row.cells[column.id], base.cells[column.id]
                if cell.printed_delta is None or cell.printed is None or other.printed is None:
                    continue
                grade, text = judge(cell.printed, other.printed, parse(cell.printed_delta))
                places = (Place.of(record, row, column), Place.of(record, base, column))
                yield Check(grade=grade, places=places, arithmetic=text, disputed=places[:1])
