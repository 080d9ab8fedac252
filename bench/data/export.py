"""Writing a dataset in the layout of a public one, as PNG, so that its loader can be tried."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from bench.data import categories
from bench.data.base import DatasetInfo, SegmentationDataset
from bench.data.resize import to_pil
from bench.data.verify import Progress, silent
from bench.errors import UserError, nearest
from bench.files import atomic_write


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where samples go. Paths are relative, with `{split}` and `{name}`; file_id: class -> id in the file."""

    image: str
    labels: str
    splits: dict[str, str]
    file_id: Callable[[int], int]
    ignored_id: Callable[[DatasetInfo], int]
    most_classes: int
    class_list: bool = False

    def folders(self, split: str) -> list[Path]:
        """The two folders that hold a split, relative."""
        return [
            Path(path.format(split=self.splits[split], name="")).parent for path in (self.image, self.labels)
        ]


_CITYSCAPES_IDS = {
    train: label for label, train in categories.cityscapes_train_ids().items() if train is not None
}

LAYOUTS = {
    "ade20k": Layout(
        image="images/{split}/{name}.png",
        labels="annotations/{split}/{name}.png",
        splits={"train": "training", "val": "validation"},
        file_id=lambda label: label + 1,
        ignored_id=lambda info: 0,
        most_classes=150,
    ),
    "cityscapes": Layout(
        image="leftImg8bit/{split}/export/{name}_leftImg8bit.png",
        labels="gtFine/{split}/export/{name}_gtFine_labelIds.png",
        splits={"train": "train", "val": "val", "test": "test"},
        file_id=_CITYSCAPES_IDS.__getitem__,
        ignored_id=lambda info: 0,
        most_classes=19,
    ),
    "camvid": Layout(
        image="{split}/images/{name}.png",
        labels="{split}/masks/{name}.png",
        splits={"train": "train", "val": "val", "test": "test"},
        file_id=lambda label: label,
        ignored_id=lambda info: info.num_classes,
        most_classes=254,
        class_list=True,
    ),
}


def export(dataset: SegmentationDataset, layout: str, out: str | Path, progress: Progress = silent) -> Path:
    """Writes `dataset` under `out` (existing splits of other names stay) and returns `out`.

    The samples appear all at once: they are written to a temporary folder in `out` first. Errors: UserError
    for an unknown layout, a split or a number of classes that the layout does not have, and where the split
    is already there; OSError as the file system raises it.
    """
    if layout not in LAYOUTS:
        raise UserError(f"unknown layout '{layout}'{nearest(layout, LAYOUTS)}")
    plan, out = LAYOUTS[layout], Path(out)
    _check(dataset, layout, plan, out)
    out.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".export-", dir=out))
    try:
        for index in progress(range(len(dataset)), len(dataset), f"{layout} {dataset.split}"):
            _write(dataset, index, plan, temporary)
        for folder in plan.folders(dataset.split):
            (out / folder).parent.mkdir(parents=True, exist_ok=True)
            os.replace(temporary / folder, out / folder)
    except OSError as error:
        if error.filename is None:  # a failed write does not know its file
            error.filename = str(out)
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    if plan.class_list:
        atomic_write(out / "classes.json", json.dumps(_class_list(dataset.info), indent=1) + "\n")
    return out


def _check(dataset: SegmentationDataset, layout: str, plan: Layout, out: Path) -> None:
    if dataset.split not in plan.splits:
        raise UserError(
            f"the {layout} layout has no split '{dataset.split}' (known: {', '.join(plan.splits)})"
        )
    if dataset.info.num_classes > plan.most_classes:
        classes = dataset.info.num_classes
        raise UserError(f"{dataset.info.name} has {classes} classes; {layout} holds {plan.most_classes}")
    for folder in plan.folders(dataset.split):
        if (out / folder).exists():
            raise UserError(f"{out / folder} already exists; remove it or choose another folder")


def _write(dataset: SegmentationDataset, index: int, plan: Layout, folder: Path) -> None:
    sample = dataset[index]
    table = np.full(256, plan.ignored_id(dataset.info), np.uint8)
    for label in range(dataset.info.num_classes):
        table[label] = plan.file_id(label)
    labels = Image.fromarray(table[sample.semantic.numpy()])
    for path, image in ((plan.image, to_pil(sample.image)), (plan.labels, labels)):
        target = folder / path.format(split=plan.splits[dataset.split], name=sample.name)
        target.parent.mkdir(parents=True, exist_ok=True)
        image.save(target)


def _class_list(info: DatasetInfo) -> dict[str, object]:
    """The content of CamVid's classes.json."""
    rows = [
        {"id": i, "name": name, "color": list(color), "ignore": False, "thing": i in info.things}
        for i, (name, color) in enumerate(zip(info.classes, info.colors, strict=True))
    ]
    void = {"id": info.num_classes, "name": "Unlabelled", "color": [0, 0, 0], "ignore": True}
    return {
        "source": info.name,
        "classes": [*rows, void],
        "num_classes": info.num_classes,
        "void_id": void["id"],
    }
