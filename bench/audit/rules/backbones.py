"""Parameters and FLOPs of one system on several backbones."""

from collections.abc import Iterator, Sequence
from itertools import combinations

from bench.audit.finding import RIGHT, SOFT, Check, Printing, by_metric
from tables import TableRecord

NAME = "backbones"
TITLE = "Counts on several backbones"
SAYS = (
    "The parameters and FLOPs of one system on two backbones are usually not both the same. Rows are of one "
    'system where their labels ("system, backbone") begin alike.'
)

_MARKS = str.maketrans("", "", "†‡*")


def check(records: Sequence[TableRecord]) -> Iterator[Check]:
    """Every pair of backbones of one system in a table, where both counts are printed."""
    for record in records:
        systems: dict[str, list[tuple[str, dict[str, Printing]]]] = {}
        for row in record.rows:
            system, comma, backbone = row.label.translate(_MARKS).partition(", ")
            for found in by_metric(record, row) if comma and "epochs" not in backbone else ():
                if {"params", "flops"} <= found.keys():
                    systems.setdefault(system, []).append((backbone, found))
        for rows in systems.values():
            for (first, one), (second, other) in combinations(rows, 2):
                if first != second:
                    yield _check(one, other)


def _check(one: dict[str, Printing], other: dict[str, Printing]) -> Check:
    four = [row[name] for row in (one, other) for name in ("params", "flops")]
    texts = [part.cell.text for part in four]
    alike = texts[:2] == texts[2:]
    labels = f'"{four[0].row.label}" and "{four[2].row.label}"'
    text = f"{labels} both have {' and '.join(texts[:2])}" if alike else f"{labels} differ"
    places = tuple(part.place for part in four)
    return Check(grade=SOFT if alike else RIGHT, places=places, arithmetic=text)
