"""COCO-Stuff-10K (Caesar et al., CVPR 2018): 9,000 training and 1,000 test images, 171 classes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bench.data.archive import AnyPath
from bench.data.coco_categories import coco_stuff10k
from bench.data.labels import LabelTable
from bench.data.matlab import MatLabels
from bench.data.pairs import (
    IMAGE_SUFFIXES,
    Pair,
    PairedFiles,
    list_files,
    listed_pairs,
    need_folder,
    need_split,
    opened,
    pair_up,
)

LAYOUT = (
    "ROOT/images/*.jpg, ROOT/annotations/*.mat and ROOT/imageLists/{train,test}.txt as published (1.1); "
    "or PNG, of mmsegmentation: images/{train2014,test2014}, annotations/.../*_labelTrainIds.png, "
    "of MaskFormer: images_detectron2/{train,test}, annotations_detectron2/{train,test}, "
    "or of the 164k set: images/{train2017,val2017}, stuffthingmaps/{train2017,val2017}"
)
PUBLISHED = "https://github.com/nightrome/cocostuff10k (cocostuff-10k-v1.1.zip)"
TASKS = ("semantic",)
COUNTS = {"train": 9000, "val": 1000}
_SPLITS = {"train": "train", "val": "test", "test": "test"}


class COCOStuff10K(PairedFiles):
    """One split, "train" or "val" (the list test.txt, also called "test").

    In the published files 0 is unlabelled and 1..182 are ids of categories, of which 171 occur.
    """

    def __init__(self, root: str | Path | None, split: str = "train", skip_corrupt: bool = False) -> None:
        part = need_split("coco_stuff10k", split, _SPLITS)
        base = need_folder(
            "coco_stuff10k", opened(root, "coco_stuff10k", "cocostuff-10k-v1.1"), LAYOUT, PUBLISHED
        )
        find = next(
            (form for folder, form in _FORMS if (base / folder.format(part=part)).is_dir()), _published
        )
        pairs, read = find(base, part)
        super().__init__(coco_stuff10k(), split, pairs, read, skip_corrupt)


_Found = tuple[list[Pair], LabelTable | MatLabels]


def _published(base: AnyPath, part: str) -> _Found:
    pairs = listed_pairs(
        "coco_stuff10k", base / "imageLists" / f"{part}.txt", base / "images", base / "annotations", ".mat",
        LAYOUT, PUBLISHED,
    )  # fmt: skip
    ids = {0: None} | {category: label for label, category in enumerate(coco_stuff10k().categories)}
    return pairs, MatLabels(
        "S", LabelTable.of(ids, "0 (unlabelled) or an id of the 171 categories, 1 to 182")
    )


def _mmsegmentation(base: AnyPath, part: str) -> _Found:
    ids = {0: None} | {label + 1: label for label in range(171)}
    table = LabelTable.of(ids, "0 (unlabelled) to 171")
    return _folders(
        base / "images" / f"{part}2014", base / "annotations" / f"{part}2014", "_labelTrainIds"
    ), table


def _maskformer(base: AnyPath, part: str) -> _Found:
    table = LabelTable.of(
        {label: label for label in range(171)} | {255: None}, "0 to 170 or 255 (unlabelled)"
    )
    return _folders(base / "images_detectron2" / part, base / "annotations_detectron2" / part), table


def _pixelmaps(base: AnyPath, part: str) -> _Found:
    year = {"train": "train2017", "test": "val2017"}[part]
    ids = {category - 1: label for label, category in enumerate(coco_stuff10k().categories)} | {255: None}
    table = LabelTable.of(ids, "255 (unlabelled) or one less than an id of the 171 categories, 0 to 181")
    return _folders(base / "images" / year, base / "stuffthingmaps" / year), table


_FORMS: tuple[tuple[str, Callable[[AnyPath, str], _Found]], ...] = (
    ("annotations/{part}2014", _mmsegmentation),
    ("annotations_detectron2/{part}", _maskformer),
    ("stuffthingmaps", _pixelmaps),
)
"""A folder that only this form has, and what finds its pairs."""


def _folders(images: AnyPath, labels: AnyPath, ending: str = "") -> list[Pair]:
    need_folder("coco_stuff10k", images, LAYOUT, PUBLISHED)
    need_folder("coco_stuff10k", labels, LAYOUT, PUBLISHED)
    found = list_files(images, IMAGE_SUFFIXES), list_files(labels, (".png",), ending)
    return pair_up(*found, labels / f"{{name}}{ending}.png", f"{images}/*.jpg")
