"""The classes of every data set that a preset is made for, without its files."""

from __future__ import annotations

from collections.abc import Callable

from bench.data.base import DatasetInfo
from bench.data.registry import ENTRIES, registered

DATASETS: dict[str, Callable[[], DatasetInfo]] = {name: entry.classes for name, entry in ENTRIES.items()}


def dataset_classes(name: str) -> DatasetInfo:
    """The classes of a data set. Raises UserError for an unknown name."""
    return registered(name).classes()
