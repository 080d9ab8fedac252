"""The classes of every data set that a preset is made for, loader or not."""

from __future__ import annotations

from collections.abc import Callable

from bench.data import categories, coco_categories, more_categories, synthetic
from bench.data.base import DatasetInfo
from bench.errors import UserError, nearest

DATASETS: dict[str, Callable[[], DatasetInfo]] = {
    "embedded": lambda: synthetic.INFO,
    "ade20k": categories.ade20k,
    "cityscapes": categories.cityscapes,
    "camvid": categories.camvid,
    "coco": lambda: _listed("coco", coco_categories.COCO),
    "coco_stuff10k": lambda: _listed("coco_stuff10k", coco_categories.COCO_STUFF),
    "pascal_context": lambda: _listed("pascal_context", more_categories.PASCAL_CONTEXT),
    "mapillary": lambda: _listed("mapillary", more_categories.MAPILLARY),
}


def dataset_classes(name: str) -> DatasetInfo:
    """The classes of a data set, without its files. Raises UserError for an unknown name."""
    if name not in DATASETS:
        raise UserError(f"unknown dataset {name!r}{nearest(name, DATASETS)}")
    return DATASETS[name]()


def _listed(name: str, table: str) -> DatasetInfo:
    """DatasetInfo from lines `colour mark category name`."""
    rows = [line.split(maxsplit=3) for line in table.splitlines()]
    return DatasetInfo(
        name=name,
        classes=tuple(row[3] for row in rows),
        colors=tuple(tuple(bytes.fromhex(row[0])) for row in rows),
        things=frozenset(i for i, row in enumerate(rows) if row[1] == "t"),
        categories=tuple(int(row[2]) for row in rows),
    )
