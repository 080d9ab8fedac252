"""Cityscapes fine annotations in the official layout (Cordts et al., CVPR 2016): 2,975 and 500 images."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bench.data import categories
from bench.data.archive import AnyPath
from bench.data.labels import Labels, LabelTable, map_labels, read_labels
from bench.data.pairs import Pair, PairedFiles, list_files, need_folder, need_split, opened, pair_up
from bench.errors import UserError

LAYOUT = (
    "ROOT/leftImg8bit/{train,val}/CITY/*_leftImg8bit.png with "
    "ROOT/gtFine/{train,val}/CITY/*_gtFine_labelIds.png (or *_gtFine_labelTrainIds.png), "
    "for panoptic and instance *_gtFine_instanceIds.png"
)
PUBLISHED = "https://www.cityscapes-dataset.com (leftImg8bit_trainvaltest.zip, gtFine_trainvaltest.zip)"
TASKS = ("semantic", "panoptic", "instance")
COUNTS = {"train": 2975, "val": 500}
_SPLITS = {"train": "train", "val": "val", "test": "test"}
_LABELS, _TRAIN, _INSTANCES = (f"_gtFine_{kind}Ids" for kind in ("label", "labelTrain", "instance"))
OBJECTS = 1000
"""In instanceIds, object i of label id c is OBJECTS * c + i; smaller numbers are label ids."""


class Cityscapes(PairedFiles):
    """One split, "train", "val" or "test" (whose published label maps are empty).

    Label ids become the 19 train ids, the others are ignored. A split has either labelIds or, where those are
    absent, labelTrainIds. For panoptic and instance labels all is read from instanceIds.
    """

    def __init__(
        self,
        root: str | Path | None,
        split: str = "train",
        task: str = "semantic",
        skip_corrupt: bool = False,
    ) -> None:
        folder = need_split("cityscapes", split, _SPLITS)
        base = opened(root)
        images, labels = (
            need_folder("cityscapes", base and base / kind / folder, LAYOUT, PUBLISHED)
            for kind in ("leftImg8bit", "gtFine")
        )
        ending, info = _INSTANCES, categories.cityscapes()
        if task == "semantic":
            ending = _LABELS if any(labels.glob(f"*/*{_LABELS}.png")) else _TRAIN
        read = InstanceIds(info.things) if task != "semantic" else _table(ending == _TRAIN)
        super().__init__(info, split, _pairs(images, labels, ending), read, skip_corrupt)


class InstanceIds:
    """Reads instanceIds: objects of `things` get numbers from 1 in the order of their ids.

    A label id alone on a class of things is a group that nobody took apart: a crowd, as in
    createPanopticImgs.py of cityscapesScripts.
    """

    def __init__(self, things: frozenset[int]) -> None:
        self.things, self.table = sorted(things), _table(train_ids=False)

    def __call__(self, pair: Pair) -> Labels:
        """Raises UnreadableFile, UserError."""
        ids = read_labels(pair.labels).astype(np.int32)
        found, places = np.unique(ids, return_inverse=True)
        labels = np.where(found >= OBJECTS, found // OBJECTS, found)
        places = places.reshape(ids.shape)
        semantic = map_labels(labels[places], self.table, pair.labels)
        classes = self.table.lookup[labels]
        objects = np.isin(classes, self.things)
        numbers = np.where(objects, np.cumsum(objects), 0).astype(np.int32)
        return Labels(semantic, numbers[places], frozenset(numbers[objects & (found < OBJECTS)].tolist()))


def _pairs(images: AnyPath, labels: AnyPath, ending: str) -> list[Pair]:
    pairs: list[Pair] = []
    for city in sorted(path for path in images.iterdir() if path.is_dir()):
        found = list_files(city, (".png",), "_leftImg8bit")
        if not found:
            continue
        maps = labels / city.name
        known = list_files(maps, (".png",), ending) if maps.is_dir() else {}
        pairs += pair_up(found, known, maps / f"{{name}}{ending}.png", str(images))
    if not pairs:
        raise UserError(f"no images found; expected {images}/CITY/*_leftImg8bit.png")
    return pairs


def _table(train_ids: bool) -> LabelTable:
    if train_ids:
        return LabelTable.of({255: None} | {i: i for i in range(19)}, "train ids 0 to 18 or 255 (ignored)")
    return LabelTable.of(categories.cityscapes_train_ids(), "label ids 0 to 33")
