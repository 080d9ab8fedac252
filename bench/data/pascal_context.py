"""PASCAL-Context in its 59 classes (Mottaghi et al., CVPR 2014): 4,998 training, 5,105 validation images."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bench.data.base import IGNORE
from bench.data.labels import LabelTable
from bench.data.matlab import MatLabels
from bench.data.more_categories import pascal_context
from bench.data.pairs import PairedFiles, listed_pairs, need_folder, need_split, opened

LAYOUT = (
    "ROOT/JPEGImages/*.jpg and ROOT/ImageSets/SegmentationContext/{train,val}.txt with "
    "mmsegmentation's ROOT/SegmentationClassContext/*.png, 0 being background, "
    "or the published ROOT/trainval/*.mat of 459 labels; ROOT may be the folder around VOCdevkit/VOC2010"
)
PUBLISHED = (
    "https://cs.stanford.edu/~roozbeh/pascal-context and http://host.robots.ox.ac.uk/pascal/VOC/voc2010"
)
TASKS = ("semantic",)
COUNTS = {"train": 4998, "val": 5105}
_SPLITS = {"train": "train", "val": "val"}
_OF_459 = (
    2, 9, 18, 19, 22, 23, 25, 31, 33, 34, 44, 45, 46, 59, 65, 68, 72, 80, 85, 98, 104, 105, 113, 115, 144,
    158, 159, 162, 187, 189, 207, 220, 232, 258, 259, 260, 284, 295, 296, 308, 324, 326, 347, 349, 354, 355,
    360, 366, 368, 397, 415, 416, 420, 424, 427, 440, 445, 454, 458,
)  # fmt: skip
"""The labels of the published .mat files that are the 59 classes, in their order."""


class PascalContext(PairedFiles):
    """One split, "train" or "val". What is none of the 59 classes, background, is ignored."""

    def __init__(self, root: str | Path | None, split: str = "train", skip_corrupt: bool = False) -> None:
        part = need_split("pascal_context", split, _SPLITS)
        base = opened(root, "VOCdevkit/VOC2010", "VOC2010")
        base = need_folder("pascal_context", base, LAYOUT, PUBLISHED)
        folder, suffix = "SegmentationClassContext", ".png"
        if not (base / folder).is_dir() and (base / "trainval").is_dir():
            folder, suffix = "trainval", ".mat"
        names = base / "ImageSets" / "SegmentationContext" / f"{part}.txt"
        pairs = listed_pairs(
            "pascal_context", names, base / "JPEGImages", base / folder, suffix, LAYOUT, PUBLISHED
        )
        read = _table() if suffix == ".png" else MatLabels("LabelMap", _table_459())
        super().__init__(pascal_context(), split, pairs, read, skip_corrupt)


def _table() -> LabelTable:
    return LabelTable.of({0: None} | {label + 1: label for label in range(59)}, "0 (background) to 59")


def _table_459() -> LabelTable:
    lookup = np.full(460, IGNORE, np.uint8)
    lookup[list(_OF_459)] = range(59)
    return LabelTable(lookup, "labels 0 to 459")
