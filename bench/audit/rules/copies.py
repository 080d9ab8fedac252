"""The same numbers under another name."""

from collections.abc import Iterator, Sequence
from itertools import combinations

from bench.audit.finding import RIGHT, SOFT, Check, Printing, printings
from bench.audit.subject import kind, preset_of, words_of
from tables import TableRecord

NAME = "copies"
TITLE = "The same numbers under other names"
SAYS = (
    "Rows of two tables that share three accuracy numbers or more, digit by digit, are of one system, on one "
    "split of one data set."
)

SHARED = 3
Row = dict[str, Printing]


def check(records: Sequence[TableRecord]) -> Iterator[Check]:
    """Every pair of rows with so many numbers in common."""
    rows = [row for record in records for row in _rows(record)]
    for one, other in combinations(rows, 2):
        common = one.keys() & other.keys()
        if len(common) < SHARED or _table(one) == _table(other):
            continue
        if all(one[name].cell.text == other[name].cell.text for name in common):
            yield _check(one, other, sorted(common))


def _rows(record: TableRecord) -> Iterator[Row]:
    """The accuracy numbers of a row by metric and data set, whatever the split."""
    found: dict[tuple, dict[str, list[Printing]]] = {}
    for one in printings(record):
        if kind(one) == "trained" and one.cell.printed.decimals:
            row = found.setdefault((one.row.number, one.column.dataset, one.column.preset_key), {})
            row.setdefault(f"{one.column.metric} {one.column.dataset}", []).append(one)
    for row in found.values():
        yield {name: parts[0] for name, parts in row.items() if len(parts) == 1}


def _table(row: Row) -> tuple[str, str]:
    record = next(iter(row.values())).record
    return record.paper, record.table


def _check(one: Row, other: Row, common: list[str]) -> Check:
    left, right = one[common[0]], other[common[0]]
    differences = []
    if not _same_system(left, right):
        differences.append(f'"{left.row.label}" and "{right.row.label}"')
    if left.column.split != right.column.split:
        differences.append(f"{left.column.split} and {right.column.split}")
    shown = ", ".join(f"{one[name].column.label} {one[name].cell.text}" for name in common)
    places = tuple(row[name].place for row in (one, other) for name in common)
    text = f"{shown}: printed of {' and of '.join(differences)}" if differences else shown
    return Check(grade=SOFT if differences else RIGHT, places=places, arithmetic=text)


def _same_system(one: Printing, other: Printing) -> bool:
    presets = preset_of(one), preset_of(other)
    if None not in presets:
        return presets[0][0] == presets[1][0]
    left, right = words_of(one, brackets=False), words_of(other, brackets=False)
    return left <= right or right <= left
