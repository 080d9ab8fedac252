"""What a paper's text says about a table, beside the table's own numbers and ours."""

import operator
from collections.abc import Callable, Sequence
from decimal import Decimal

from bench.cells import CellResult
from bench.compare import EQUAL, NOT_RUN, OUTSIDE, rounded
from bench.markdown import Lines, escape, table
from tables import Claim, Mention, TableRecord

Places = dict[tuple[int, str], Decimal | None]

_BOUNDS: dict[str, Callable[[Decimal, Decimal], bool]] = {
    "at most": operator.le,
    "less than": operator.lt,
    "more than": operator.gt,
}


def claims(record: TableRecord, results: Sequence[CellResult]) -> Lines:
    """The differences that the text states."""
    ours = {(result.row.number, result.column.id): result.measured for result in results}
    body = [_claim(record, claim, ours) for claim in record.claims]
    header = ["where", "the text says", "the printed cells give", "ours"]
    return ["## What the text says about it", "", *table(header, body)] if body else []


def _claim(record: TableRecord, claim: Claim, ours: Places) -> list[str]:
    ends = [(claim.row, claim.column), (claim.minus, claim.minus_column or claim.column)]
    cells = [record.row(row).cells.get(column) for row, column in ends]
    printed = [cell.printed.value if cell and cell.printed else None for cell in cells]
    row, minus = (escape(record.row(number).label) for number, _ in ends)
    column = escape(record.column(claim.column).label)
    if claim.minus_column:
        text = f"{row}, {column} over {minus}, {escape(record.column(claim.minus_column).label)}: "
    else:
        text = f"{row} over {minus}, {column}: "
    text += f"{'' if claim.relation == 'equal' else claim.relation + ' '}{claim.value.value:+}"
    from_ours = _difference([ours.get(end) for end in ends])
    return [claim.where, text, _against(_difference(printed), claim), _against(from_ours, claim)]


def _difference(values: Sequence[Decimal | None]) -> Decimal | None:
    return None if None in values else values[0] - values[1]


def _against(value: Decimal | None, claim: Claim) -> str:
    if value is None:
        return f"– `{NOT_RUN}`"
    shown = rounded(value, claim.value.decimals)
    bound = _BOUNDS.get(claim.relation)
    holds = shown == claim.value.value if bound is None else bound(value, claim.value.value)
    return f"{shown:+} `{EQUAL if holds else OUTSIDE}`"


def mentions(record: TableRecord, results: Sequence[CellResult]) -> Lines:
    """The numbers that the text repeats."""
    found = {(result.row.number, result.column.id): result for result in results}
    body = [_mention(record, mention, found) for mention in record.mentions]
    header = ["where", "cell", "the text says", "the table prints", "ours"]
    return ["## What the text repeats of it", "", *table(header, body)] if body else []


def _mention(record: TableRecord, mention: Mention, found: dict[tuple[int, str], CellResult]) -> list[str]:
    row, column = record.row(mention.row), record.column(mention.column)
    cell = row.cells.get(column.id)
    printed = cell.printed if cell else None
    same = printed is not None and printed.value == mention.value.value
    sign = NOT_RUN if printed is None else EQUAL if same else OUTSIDE
    result = found.get((row.number, column.id))
    measured = result.measured if result else None
    return [
        mention.where,
        f"{escape(row.label)}, {escape(column.label)}",
        escape(mention.value.text),
        f"{escape(cell.text) if printed else '–'} `{sign}`",
        "–" if measured is None else f"{rounded(measured, mention.value.decimals):,}",
    ]
