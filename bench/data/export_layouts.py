"""Where the files of each layout go and what ids they hold: for writing what the loaders read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from bench.data import categories, coco_stuff10k, mapillary
from bench.data.base import DatasetInfo, Sample
from bench.data.export_objects import (
    ADE20KObjects,
    CityscapesObjects,
    InstanceFile,
    ObjectWriter,
    PanopticFile,
)
from bench.data.resize import to_pil

_ALL_SPLITS = {"train": "train", "val": "val", "test": "test"}


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The files of one split. Paths are relative, with `{split}` and `{name}`.

    labels: "" if there is no label map; file_id: class -> id in it; ignored_id: of a pixel without a class;
    objects: what writes labels of objects, each from (folder, name of the split there, classes of the files);
    names: a list of the samples; own_classes: the files say what their classes are.
    """

    image: str
    splits: dict[str, str]
    labels: str = ""
    file_id: Callable[[int], int] = int
    ignored_id: Callable[[DatasetInfo], int] = lambda info: 0
    objects: tuple[Callable[[Path, str, DatasetInfo], ObjectWriter], ...] = ()
    names: str = ""
    own_classes: bool = False

    def own_places(self, split: str) -> list[str]:
        """What holds nothing but the split: if it is there, the split is."""
        if self.names:
            return [self.names.format(split=self.splits[split])]
        paths = (path.format(split=self.splits[split], name="") for path in (self.image, self.labels) if path)
        return [str(Path(path).parent) for path in paths]

    def write(self, sample: Sample, split: str, folder: Path, info: DatasetInfo) -> None:
        """The picture and the label map of one sample, its classes being those of `info`."""
        where = {"split": self.splits[split], "name": sample.name}
        _save(to_pil(sample.image), folder / self.image.format(**where))
        if self.labels:
            table = np.full(256, self.ignored_id(info), np.uint8)
            table[: info.num_classes] = [self.file_id(label) for label in range(info.num_classes)]
            save_labels(table[sample.semantic.numpy()], folder / self.labels.format(**where))


def save_labels(labels: np.ndarray, path: Path) -> None:
    """uint8 [H,W] as PNG, or as the variable S of a MATLAB file."""
    if path.suffix == ".mat":
        from scipy.io import savemat

        path.parent.mkdir(parents=True, exist_ok=True)
        savemat(path, {"S": labels}, do_compression=True)
    else:
        _save(Image.fromarray(labels), path)


def _save(image: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


_CITYSCAPES_IDS = {
    train: label for label, train in categories.cityscapes_train_ids().items() if train is not None
}
_STUFF_IDS = coco_stuff10k.coco_stuff10k().categories

LAYOUTS = {
    "ade20k": Layout(
        image="images/{split}/{name}.png",
        labels="annotations/{split}/{name}.png",
        splits={"train": "training", "val": "validation"},
        file_id=lambda label: label + 1,
        objects=(ADE20KObjects,),
    ),
    "cityscapes": Layout(
        image="leftImg8bit/{split}/export/{name}_leftImg8bit.png",
        labels="gtFine/{split}/export/{name}_gtFine_labelIds.png",
        splits=_ALL_SPLITS,
        file_id=_CITYSCAPES_IDS.__getitem__,
        objects=(CityscapesObjects,),
    ),
    "camvid": Layout(
        image="{split}/images/{name}.png",
        labels="{split}/masks/{name}.png",
        splits=_ALL_SPLITS,
        ignored_id=lambda info: info.num_classes,
        own_classes=True,
    ),
    "coco": Layout(
        image="{split}2017/{name}.png",
        splits={"train": "train", "val": "val"},
        objects=(
            lambda folder, split, info: PanopticFile(
                folder / f"annotations/panoptic_{split}2017",
                folder / f"annotations/panoptic_{split}2017.json",
                info,
            ),
            lambda folder, split, info: InstanceFile(
                folder / f"annotations/instances_{split}2017.json", info
            ),
        ),
    ),
    "coco_stuff10k": Layout(
        image="images/{name}.png",
        labels="annotations/{name}.mat",
        splits={"train": "train", "val": "test"},
        file_id=_STUFF_IDS.__getitem__,
        names="imageLists/{split}.txt",
    ),
    "pascal_context": Layout(
        image="JPEGImages/{name}.png",
        labels="SegmentationClassContext/{name}.png",
        splits={"train": "train", "val": "val"},
        file_id=lambda label: label + 1,
        names="ImageSets/SegmentationContext/{split}.txt",
    ),
    "mapillary": Layout(
        image="{split}/images/{name}.png",
        labels="{split}/labels/{name}.png",
        splits={"train": "training", "val": "validation"},
        ignored_id=lambda info: mapillary.UNLABELLED,
        objects=(
            lambda folder, split, info: PanopticFile(
                folder / split / "panoptic", folder / split / "panoptic" / mapillary.JSON, info
            ),
        ),
    ),
}
