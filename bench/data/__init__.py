"""Datasets, transforms and the training loader.

`open_dataset` is the one way in; see `bench/data/README.md` for the layouts.
"""

from __future__ import annotations

import inspect
from pathlib import Path

from bench.data.base import IGNORE, DatasetInfo, Sample, SegmentationDataset
from bench.data.registry import dataset_names, registered
from bench.errors import UserError, nearest

__all__ = ["IGNORE", "DatasetInfo", "Sample", "SegmentationDataset", "dataset_names", "open_dataset"]


def open_dataset(
    name: str,
    root: str | Path | None = None,
    split: str = "train",
    *,
    task: str = "semantic",
    **options: object,
) -> SegmentationDataset:
    """Open one split of a dataset, with the labels for `task`: "semantic", "panoptic" or "instance".

    "embedded" takes no root; options size (int or (H, W), default 192), length, seed.
    All others need root, a folder, an official zip or a folder of such zips; option skip_corrupt (default
    False: an unreadable file is an error when it is read; True: every file is decoded now, the unreadable are
    left out and `.skipped` names them).
    Errors: `UserError` (one line) for an unknown name, task, option or split, a task that the dataset has no
    labels for, a missing folder, an empty split, an image without labels.
    """
    entry = registered(name)
    if task not in entry.tasks:
        has = ", ".join(entry.tasks)
        raise UserError(f"dataset '{name}' has no labels for the task '{task}'; it has: {has}")
    dataset = entry.loader()
    known = set(inspect.signature(dataset).parameters)
    for option in options:
        if option not in known - {"root", "split", "task"}:
            raise UserError(f"dataset '{name}' has no option '{option}'{nearest(option, known)}")
    if "task" in known:
        options["task"] = task
    if "root" in known:
        return dataset(root=root, split=split, **options)
    if root is not None:
        raise UserError(f"the {name} dataset is generated and takes no root folder (got '{root}')")
    return dataset(split=split, **options)
