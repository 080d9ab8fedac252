"""Sums, shares and precisions."""

import re
from collections.abc import Iterator, Sequence

from bench.audit.finding import HARD, RIGHT, Check, Printing, printings
from bench.audit.interval import Interval, exactly, short, stands_for, total
from tables import TableRecord

NAME = "totals"
TITLE = "Totals, shares and precisions"
SAYS = (
    "A row labelled total is the sum of the rows above it for what is counted; foreground and background "
    "have the whole attention between them; precision is TP / (TP + FP)."
)

COUNTED = ("query_count", "true_positives", "predictions")
_TOTAL = re.compile(r"total\b", re.IGNORECASE)


def check(records: Sequence[TableRecord]) -> Iterator[Check]:
    """Every total, pair of shares and precision."""
    for record in records:
        yield from _sums(record)
        yield from _shares(record)
        yield from _precisions(record)


def _sums(record: TableRecord) -> Iterator[Check]:
    for row in record.rows:
        if not _TOTAL.match(row.label):
            continue
        above = record.rows[: row.number - 1]
        for column in record.columns:
            whole, parts = row.cells[column.id], [other.cells[column.id].printed for other in above]
            if column.metric not in COUNTED or whole.printed is None or None in parts:
                continue
            found = sum(part.value for part in parts)
            text = f"{' + '.join(part.text for part in parts)} = {found:,}, printed {whole.text}"
            place = Printing(record, row, column, whole).place
            right = found == whole.printed.value
            yield Check(grade=RIGHT if right else HARD, places=(place,), arithmetic=text, disputed=(place,))


def _shares(record: TableRecord) -> Iterator[Check]:
    """Two columns whose labels differ in fg and bg are shares of one."""
    labels = {column.label: column for column in record.columns}
    for row in record.rows:
        for label, column in labels.items():
            other = labels.get(re.sub(r"\bfg\b", "bg", label))
            if other is None or other is column:
                continue
            pair = [Printing(record, row, part, row.cells[part.id]) for part in (column, other)]
            if any(part.cell.printed is None for part in pair):
                continue
            whole = total(stands_for(part.cell.printed) for part in pair)
            text = f"{pair[0].cell.text} + {pair[1].cell.text}, to make 1"
            places = tuple(part.place for part in pair)
            grade = RIGHT if whole.meets(exactly(1)) else HARD
            yield Check(grade=grade, places=places, arithmetic=text, disputed=places)


def _precisions(record: TableRecord) -> Iterator[Check]:
    """Where labels group columns ("Stuff: TP"), each group has its own precision."""
    for row in record.rows:
        groups: dict[str, dict[str, Printing]] = {}
        for one in printings(record):
            group, colon, _ = one.column.label.partition(":")
            if one.row is row:
                groups.setdefault(group if colon else "", {})[one.column.metric] = one
        for found in groups.values():
            if {"precision", "true_positives", "predictions"} <= found.keys():
                yield _precision(found["precision"], found["true_positives"], found["predictions"])


def _precision(said: Printing, hits: Printing, all_of_them: Printing) -> Check:
    value = hits.cell.printed.value / all_of_them.cell.printed.value
    text = f"{hits.cell.text} / {all_of_them.cell.text} = {short(value)}, printed {said.cell.text}"
    right = stands_for(said.cell.printed).meets(Interval(value, value))
    places = (said.place, hits.place, all_of_them.place)
    return Check(grade=RIGHT if right else HARD, places=places, arithmetic=text, disputed=places)
