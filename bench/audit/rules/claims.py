"""What the text says of two rows."""

from collections.abc import Iterator, Sequence

from bench.audit.difference import judge
from bench.audit.finding import Check, Place
from tables import TableRecord

NAME = "claims"
TITLE = "Differences that the text states"
SAYS = "A difference between two printed numbers that the text states is their difference."


def check(records: Sequence[TableRecord]) -> Iterator[Check]:
    """Every recorded claim whose two cells have numbers."""
    for record in records:
        for claim in record.claims:
            column = record.column(claim.column)
            other = record.column(claim.minus_column or claim.column)
            row, base = record.row(claim.row), record.row(claim.minus)
            larger, smaller = row.cells[column.id].printed, base.cells[other.id].printed
            if larger is None or smaller is None:
                continue
            grade, text = judge(larger, smaller, claim.value, claim.relation)
            places = (Place.of(record, row, column), Place.of(record, base, other))
            yield Check(grade=grade, places=places, arithmetic=f"{claim.where}: {text}")
