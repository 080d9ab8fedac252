"""Parameters of one system on several data sets."""

import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import combinations, product

from bench.audit.finding import RIGHT, SOFT, Check, Printing, printings
from bench.audit.interval import ROUNDED
from bench.audit.subject import in_base_units, preset_of
from tables import TableRecord

NAME = "class_head"
TITLE = "Parameters on several data sets"
SAYS = (
    "The parameters of one system on two data sets usually differ by the classes alone, which is less than "
    "a million."
)

DATASETS = r"_(ade20k|cityscapes|coco_stuff10k|coco|pascal_context|mapillary)(_panoptic|_instance)?$"
MOST = Decimal(10) ** 6


def check(records: Sequence[TableRecord]) -> Iterator[Check]:
    """Every system with printed parameters on two data sets or more."""
    systems: dict[tuple, dict[str, list[Printing]]] = {}
    for record in records:
        for one in printings(record):
            preset = preset_of(one)
            if one.column.metric == "params" and preset is not None:
                system = (re.sub(DATASETS, "", preset[0]), *preset[1:])
                systems.setdefault(system, {}).setdefault(one.column.dataset, []).append(one)
    for datasets in systems.values():
        if len(datasets) > 1:
            yield _check(datasets)


def _check(datasets: dict[str, list[Printing]]) -> Check:
    """One system: the numbers on each data set, and how far the farthest two data sets are apart."""
    apart = max(
        min(_apart(one, other) for one, other in product(left, right))
        for left, right in combinations(datasets.values(), 2)
    )
    texts = [
        f"{' and '.join(dict.fromkeys(one.cell.text for one in found))} on {dataset}"
        for dataset, found in datasets.items()
    ]
    text = "; ".join(texts)
    if apart > MOST:
        text += f": at least {apart / MOST:.1f} M apart, whatever the rounding"
    places = tuple(one.place for found in datasets.values() for one in found)
    return Check(grade=SOFT if apart > MOST else RIGHT, places=places, arithmetic=text)


def _apart(one: Printing, other: Printing) -> Decimal:
    """The least distance of two numbers."""
    left, right = in_base_units(one, ROUNDED), in_base_units(other, ROUNDED)
    return max(left.low - right.high, right.low - left.high, Decimal(0))
