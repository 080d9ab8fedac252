"""Semantic, panoptic and instance segmentation: which one a preset does, and how it sees a data set.

A model's classes are 0 .. K - 1. A semantic or panoptic model has all classes of its data set, an instance
model the things alone. `TaskView` is the one place where classes are renumbered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import get_args

import torch

from bench.data.base import IGNORE, DatasetInfo, Objects, Sample, SegmentationDataset
from bench.errors import UserError
from models.inference import Task
from models.spec import Spec, paths

TASKS: tuple[Task, ...] = get_args(Task)

SHOWN: dict[Task, tuple[str, ...]] = {
    "semantic": ("mIoU", "class_accuracy", "pixel_accuracy"),
    "panoptic": ("PQ", "SQ", "RQ", "PQ_things", "SQ_things", "RQ_things", "PQ_stuff", "SQ_stuff", "RQ_stuff"),
    "instance": ("AP", "AP50", "AP75", "APs", "APm", "APl"),
}
"""The scores of `bench.evaluate.evaluate` that are told; a task is judged by the first."""

_ALWAYS_PANOPTIC = "coco"
"""A preset on COCO without a word about its task is panoptic: Panoptic SegFormer's."""


def split_preset(name: str) -> tuple[str, Task]:
    """Data set and task of a preset's name, `system_backbone_dataset[_task]`.

    The data set is "" where the name holds none that is known.
    """
    from bench.data.classes import DATASETS

    task = next((task for task in TASKS if name.endswith(f"_{task}")), None)
    rest = name.removesuffix(f"_{task}")
    dataset = max((d for d in DATASETS if rest.endswith(f"_{d}")), key=len, default="")
    return dataset, task or ("panoptic" if dataset == _ALWAYS_PANOPTIC else "semantic")


def key_task(key: str) -> Task | None:
    """The task that the key of a row's preset names ("coco_instance"); None where it names none.

    It may differ from the preset's: Panoptic SegFormer's Table 4 is of its panoptic preset without the
    queries of stuff, trained on objects.
    """
    return next((task for task in TASKS if key.endswith(f"_{task}")), None)


def class_order(info: DatasetInfo, task: Task, things_first: bool = False) -> list[int]:
    """The classes of `info` that a model for `task` has, in the order of the model's classes.

    Raises UserError for an instance model of data without things.
    """
    things = sorted(info.things)
    if task == "instance":
        if not things:
            raise UserError(f"{info.name} has no things to find instances of")
        return things
    if task == "panoptic" and things_first:
        return things + [label for label in range(info.num_classes) if label not in info.things]
    return list(range(info.num_classes))


def reordered(info: DatasetInfo, order: Sequence[int]) -> DatasetInfo:
    """The classes `order` of `info`, renumbered from 0; their category ids stay."""
    return replace(
        info,
        classes=tuple(info.classes[label] for label in order),
        colors=tuple(info.colors[label] for label in order),
        things=frozenset(new for new, label in enumerate(order) if label in info.things),
        categories=tuple(info.category(label) for label in order),
    )


def task_info(info: DatasetInfo, task: Task, things_first: bool = False) -> DatasetInfo:
    """The classes that a model for `task` has; see `class_order`."""
    order = class_order(info, task, things_first)
    return info if order == list(range(info.num_classes)) else reordered(info, order)


def things_first(spec: Spec) -> bool:
    """Whether the things must come before the stuff among the classes of this model."""
    return "num_things" in paths(spec)


def fit_classes(spec: Spec, info: DatasetInfo) -> Spec:
    """`spec` for the classes of `info`, things first where the model needs them so; unchanged if it fits.

    Panoptic SegFormer has a query for each stuff class; DETR's classifier numbers the classes of COCO by
    their ids, those of other data by themselves.
    """
    known = set(paths(spec))
    changes: dict[str, object] = {"num_classes": info.num_classes}
    if "num_things" in known and spec.num_things is not None:  # type: ignore[attr-defined]
        changes |= {path: len(info.things) for path in ("num_things", "loss.num_things") if path in known}
    if "class_ids" in known and spec.num_classes != info.num_classes:  # type: ignore[attr-defined]
        changes |= {"class_ids": None, "columns": None}
    return spec.override(changes)


class TaskView(SegmentationDataset):
    """`dataset` as a model for `task` sees it: classes renumbered, those that it does not have ignored."""

    def __init__(self, dataset: SegmentationDataset, task: Task, things_first: bool = False) -> None:
        self.dataset, self.task = dataset, task
        self.info = task_info(dataset.info, task, things_first)
        self.split, self.skipped = dataset.split, dataset.skipped
        order = class_order(dataset.info, task, things_first)
        self._lookup = torch.full((256,), dataset.info.ignore_index, dtype=torch.uint8)
        self._lookup[order] = torch.arange(len(order), dtype=torch.uint8)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Sample:
        sample = self.dataset[index]
        return replace(
            sample,
            semantic=self._lookup[sample.semantic.long()],
            objects=None if sample.objects is None else self._renumbered(sample.objects),
        )

    def checksum(self) -> str:
        """That of the data set."""
        return self.dataset.checksum()

    def _renumbered(self, objects: Objects) -> Objects:
        labels = self._lookup[objects.labels].long()
        return replace(objects, labels=labels).where(labels != self.info.ignore_index)


def require_labels(dataset: SegmentationDataset, task: Task) -> None:
    """Raises UserError where the data set is read without the labels that `task` needs."""
    sample = dataset[0]
    numbered, apart = sample.instances is not None, sample.objects is not None
    if task != "semantic" and not numbered and not (apart and task == "instance"):
        raise UserError(f"{dataset.info.name} is read without instance labels, which {task} needs")
    if task == "semantic" and apart and bool((sample.semantic == IGNORE).all()):
        raise UserError(f"{dataset.info.name} is read without classes by pixel, which {task} needs")
