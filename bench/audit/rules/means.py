"""Columns that are means of others."""

import re
from collections.abc import Iterator, Sequence

from bench.audit.finding import EXPLAINED, HARD, RIGHT, Check, Printing, by_metric
from bench.audit.interval import ROUNDED, WAYS, mean, short, stands_for, ways_to_meet
from tables import Column, Row, TableRecord

NAME = "means"
TITLE = "Means of columns"
SAYS = (
    "A column labelled mean or average is the mean of the columns of the same metric, data set and protocol; "
    "the score of ADE20K's test server is the mean of pixel accuracy and mIoU."
)

_WORD = re.compile(r"\b(mean|average|avg)\b", re.IGNORECASE)


def check(records: Sequence[TableRecord]) -> Iterator[Check]:
    """Every printed mean whose parts are all printed."""
    for record in records:
        averaged = {column.id: parts for column in record.columns if (parts := parts_of(record, column))}
        for row in record.rows:
            for name, parts in averaged.items():
                yield from _check(_printing(record, row, record.column(name)), _all(record, row, parts))
            for found in by_metric(record, row):
                if {"score", "pixel_accuracy", "miou_ms"} <= found.keys():
                    yield from _check(found["score"], [found["pixel_accuracy"], found["miou_ms"]])


def parts_of(record: TableRecord, column: Column) -> list[Column]:
    """The columns whose mean a column is, by its label: those of its metric, data set and split that have
    the other words of its label ("average fg": those with "fg"), under its protocol, or, where the protocol
    has the word mean, under those with another word in its place. None for a column that is no mean.
    """
    if not _WORD.search(column.label):
        return []
    words = set(_WORD.sub(" ", column.label).lower().split())
    protocol = re.escape(column.protocol).replace("mean", "[a-z0-9-]+")
    return [
        other
        for other in record.columns
        if other is not column
        and (other.metric, other.dataset, other.split) == (column.metric, column.dataset, column.split)
        and words <= set(other.label.lower().split())
        and not _WORD.search(other.label)
        and re.fullmatch(protocol, other.protocol)
    ]


def _printing(record: TableRecord, row: Row, column: Column) -> Printing:
    return Printing(record, row, column, row.cells[column.id])


def _all(record: TableRecord, row: Row, columns: list[Column]) -> list[Printing]:
    return [_printing(record, row, column) for column in columns]


def _check(whole: Printing, parts: list[Printing]) -> Iterator[Check]:
    numbers = [part.cell.printed for part in parts]
    if whole.cell.printed is None or len(numbers) < 2 or None in numbers:
        return
    computed = {way: mean([stands_for(number, way) for number in numbers]) for way in WAYS}
    value = sum(number.value for number in numbers) / len(numbers)
    shown = " + ".join(number.text for number in numbers)
    text = f"({shown}) / {len(numbers)} = {short(value)}, printed {whole.cell.text}"
    ways = ways_to_meet(whole.cell.printed, computed)
    grade = RIGHT if ROUNDED in ways else EXPLAINED if ways else HARD
    places = (whole.place, *(part.place for part in parts))
    yield Check(grade=grade, places=places, arithmetic=text, disputed=(whole.place,))
