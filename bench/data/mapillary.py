"""Mapillary Vistas 1.2 (Neuhold et al., ICCV 2017): 18,000 training, 2,000 validation images, 65 classes."""

from __future__ import annotations

from pathlib import Path

from bench.data.labels import LabelTable
from bench.data.more_categories import mapillary
from bench.data.pairs import (
    IMAGE_SUFFIXES,
    PairedFiles,
    list_files,
    need_folder,
    need_split,
    opened,
    pair_up,
)
from bench.data.panoptic_files import PanopticLabels, panoptic_pairs, read_segments

LAYOUT = (
    "ROOT/{training,validation}/images/*.jpg with ROOT/{training,validation}/labels/*.png, "
    "for panoptic panoptic/*.png and panoptic/panoptic_2018.json "
    "(labels and panoptic may be in a folder v1.2, as in the zip of version 2.0)"
)
PUBLISHED = "https://www.mapillary.com/dataset/vistas (after registration)"
TASKS = ("semantic", "panoptic")
COUNTS = {"train": 18000, "val": 2000}
JSON = "panoptic_2018.json"
_SPLITS = {"train": "training", "val": "validation", "training": "training", "validation": "validation"}
UNLABELLED = 65


class MapillaryVistas(PairedFiles):
    """One split, "train" or "val". Labels 0..64 are the classes, 65 is ignored."""

    def __init__(
        self,
        root: str | Path | None,
        split: str = "train",
        task: str = "semantic",
        skip_corrupt: bool = False,
    ) -> None:
        folder, base, info = need_split("mapillary", split, _SPLITS), opened(root), mapillary()
        images = need_folder("mapillary", base and base / folder / "images", LAYOUT, PUBLISHED)
        kind = "panoptic" if task == "panoptic" else "labels"
        newer = images.parent / "v1.2"
        labels = (newer if newer.is_dir() else images.parent) / kind
        need_folder("mapillary", labels, LAYOUT, PUBLISHED)
        if task == "panoptic":
            segments = read_segments(labels / JSON, info)
            pairs = panoptic_pairs(images, labels, segments, f"{images}/*.jpg")
            read, shared = PanopticLabels(segments, info), [segments.path]
        else:
            found = list_files(images, IMAGE_SUFFIXES), list_files(labels, (".png",))
            pairs = pair_up(*found, labels / "{name}.png", f"{images}/*.jpg")
            read, shared = _table(), []
        super().__init__(info, split, pairs, read, skip_corrupt, shared=shared)


def _table() -> LabelTable:
    classes: dict[int, int | None] = {label: label for label in range(UNLABELLED)}
    return LabelTable.of(classes | {UNLABELLED: None}, f"0 to {UNLABELLED - 1} or {UNLABELLED} (unlabelled)")
