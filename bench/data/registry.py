"""Every data set that a preset is made for or that can be read: the one list of their names.

The module of a data set says where its files are (LAYOUT, PUBLISHED), how many samples it has (COUNTS, by
split) and what its labels are for (TASKS).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType

from bench.data import categories, coco_categories, more_categories, synthetic
from bench.data.base import DatasetInfo, SegmentationDataset
from bench.errors import UserError, nearest


@dataclass(frozen=True)
class Entry:
    """A data set: its name, the module and the class that read it, and its classes."""

    name: str
    module: str
    attribute: str
    classes: Callable[[], DatasetInfo]

    def loader(self) -> Callable[..., SegmentationDataset]:
        """The class that reads it."""
        return getattr(self._read(), self.attribute)

    @property
    def tasks(self) -> tuple[str, ...]:
        """What it has labels for."""
        return self._read().TASKS

    @property
    def layout(self) -> str:
        """Where its files are, under the root; "" if it is generated."""
        return getattr(self._read(), "LAYOUT", "")

    @property
    def published(self) -> str:
        """Where it is published."""
        return getattr(self._read(), "PUBLISHED", "")

    @property
    def counts(self) -> dict[str, int]:
        """Number of samples in each official split; empty if it is generated."""
        return getattr(self._read(), "COUNTS", {})

    def counts_for(self, task: str) -> dict[str, int]:
        """The same for the samples that a task uses, where not all have its labels."""
        return getattr(self._read(), "TASK_COUNTS", {}).get(task, self.counts)

    def _read(self) -> ModuleType:
        return import_module(f"bench.data.{self.module}")


ENTRIES = {
    entry.name: entry
    for entry in (
        Entry("embedded", "synthetic", "Embedded", lambda: synthetic.INFO),
        Entry("ade20k", "ade20k", "ADE20K", categories.ade20k),
        Entry("cityscapes", "cityscapes", "Cityscapes", categories.cityscapes),
        Entry("camvid", "camvid", "CamVid", categories.camvid),
        Entry("coco", "coco", "COCO", coco_categories.coco),
        Entry("coco_stuff10k", "coco_stuff10k", "COCOStuff10K", coco_categories.coco_stuff10k),
        Entry("pascal_context", "pascal_context", "PascalContext", more_categories.pascal_context),
        Entry("mapillary", "mapillary", "MapillaryVistas", more_categories.mapillary),
    )
}


def dataset_names() -> list[str]:
    """Names that `open_dataset` takes."""
    return list(ENTRIES)


def registered(name: str) -> Entry:
    """The entry of a data set. Raises UserError naming the nearest."""
    if name not in ENTRIES:
        raise UserError(f"unknown dataset '{name}'{nearest(name, ENTRIES)}")
    return ENTRIES[name]
