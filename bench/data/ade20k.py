"""ADE20K in the SceneParse150 layout (Zhou et al., CVPR 2017): 20,210 training, 2,000 validation images."""

from __future__ import annotations

from pathlib import Path

from bench.data import categories
from bench.data.ade20k_full import FULL_COUNTS, FullLabels, full_pairs
from bench.data.archive import AnyPath
from bench.data.base import DatasetInfo
from bench.data.instance_files import InstanceLabels, read_instances
from bench.data.labels import LabelTable
from bench.data.pairs import (
    IMAGE_SUFFIXES,
    Pair,
    PairedFiles,
    list_files,
    listed_images,
    need_folder,
    need_split,
    opened,
    pair_up,
)
from bench.data.panoptic_files import PanopticLabels, panoptic_pairs, read_segments
from bench.errors import UserError

LAYOUT = (
    "ROOT/images/{training,validation}/*.jpg with ROOT/annotations/{training,validation}/*.png, "
    "for panoptic ROOT/ade20k_panoptic_{train,val}.json and folders of PNG, "
    "for instance ROOT/ade20k_instance_{train,val}.json "
    "(`data prepare` makes both from ROOT/annotations_instance); "
    "or the full set of 2021, ROOT/images/ADE/{training,validation}/SCENE/*"
)
PUBLISHED = "http://sceneparsing.csail.mit.edu (ADEChallengeData2016.zip, annotations_instance.tar)"
TASKS = ("semantic", "panoptic", "instance")
COUNTS = {"train": 20210, "val": 2000}
FOLDER, FULL = "ADEChallengeData2016", "ADE20K_2021_17_01"
SPLITS = {"train": "training", "val": "validation", "training": "training", "validation": "validation"}


class ADE20K(PairedFiles):
    """One split, "train" or "val". Labels 1..150 in the files are classes 0..149, 0 is ignored.

    root: the folder ADEChallengeData2016 or the one around it; or the full ADE20K of 2021, see `ade20k_full`.
    """

    def __init__(
        self,
        root: str | Path | None,
        split: str = "train",
        task: str = "semantic",
        skip_corrupt: bool = False,
    ) -> None:
        folder, base = need_split("ade20k", split, SPLITS), opened(root, FOLDER, FULL)
        if base is not None and (base / "images" / "ADE").is_dir():
            folder = f"ADE/{folder}"
        images = need_folder("ade20k", base and base / "images" / folder, LAYOUT, PUBLISHED)
        info, shared = categories.ade20k(), []
        if images.parent.name == "ADE":
            pairs, read = full_pairs(images), FullLabels(info, objects=task != "semantic")
            self.published = FULL_COUNTS[short(images.name)]
        elif task == "semantic":
            labels = need_folder("ade20k", base / "annotations" / folder, LAYOUT, PUBLISHED)
            found = list_files(images, IMAGE_SUFFIXES), list_files(labels, (".png",))
            pairs, read = pair_up(*found, labels / "{name}.png", f"{images}/*.jpg"), TABLE
        else:
            path = base / f"ade20k_{task}_{short(folder)}.json"
            if not path.is_file():
                command = f"python -m bench data prepare --dataset ade20k --root {root}"
                raise UserError(f"no {path}; {command} makes it")
            pairs, read = (_panoptic if task == "panoptic" else _instance)(path, images, info)
            shared = [path]
        super().__init__(info, split, pairs, read, skip_corrupt, shared=shared)


def _panoptic(path: AnyPath, images: AnyPath, info: DatasetInfo) -> tuple[list[Pair], PanopticLabels]:
    segments = read_segments(path, info)
    pairs = panoptic_pairs(images, path.with_name(path.stem), segments, f"{images}/*.jpg")
    return pairs, PanopticLabels(segments, info)


def _instance(path: AnyPath, images: AnyPath, info: DatasetInfo) -> tuple[list[Pair], InstanceLabels]:
    index = read_instances(path)
    found = listed_images(path, index.rows, images)
    return [Pair(name, image, path) for name, image in found.items()], InstanceLabels(index, info)


TABLE = LabelTable.of({0: None} | {label: label - 1 for label in range(1, 151)}, "0 (ignored) to 150")


def short(split: str) -> str:
    """The name of a split in the files that are made: train or val."""
    return "train" if split.startswith("train") else "val"
