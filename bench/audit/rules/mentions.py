"""Numbers of a table that the text repeats."""

from collections.abc import Iterator, Sequence

from bench.audit.finding import EXPLAINED, HARD, RIGHT, Check, Place
from bench.audit.interval import CUT, stands_for
from tables import TableRecord

NAME = "mentions"
TITLE = "Numbers that the text repeats"
SAYS = "A number of a table that the text repeats is the same there, or the same with fewer digits."


def check(records: Sequence[TableRecord]) -> Iterator[Check]:
    """Every recorded mention of a cell that has a number."""
    for record in records:
        for mention in record.mentions:
            row, column = record.row(mention.row), record.column(mention.column)
            printed, said = row.cells[column.id].printed, mention.value
            if printed is None:
                continue
            text = f"{mention.where} has {said.text}, the table {printed.text}"
            grade, shorter = HARD, said.decimals < printed.decimals
            if stands_for(printed).meets(stands_for(said)):
                grade = RIGHT
            elif shorter and stands_for(printed).meets(stands_for(said, CUT)):
                grade, text = EXPLAINED, f"{text}: cut off, not rounded"
            yield Check(grade=grade, places=(Place.of(record, row, column),), arithmetic=text)
