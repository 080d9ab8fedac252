"""Writing labels of objects: instance pictures, and COCO's panoptic and instance formats.

A writer gets each sample, its classes being those of the files, and at the end `finish`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image

from bench.data import categories
from bench.data.ade20k import short
from bench.data.base import DatasetInfo, Objects, Sample
from bench.data.cityscapes import OBJECTS
from bench.data.panoptic import panoptic, panoptic_picture
from bench.data.prepare import prepare
from bench.errors import UserError


class ObjectWriter(Protocol):
    """Writes the objects of one split."""

    def write(self, sample: Sample) -> None: ...

    def finish(self) -> None: ...


class ADE20KObjects:
    """`annotations_instance`, category in red and number in green, and what `data prepare` makes of it."""

    def __init__(self, folder: Path, split: str, info: DatasetInfo) -> None:
        self.root, self.split = folder, short(split)
        self.folder = folder / "annotations_instance" / split
        self.folder.mkdir(parents=True)
        self.red = np.zeros(256, np.uint8)
        self.red[sorted(info.things)] = np.arange(1, len(info.things) + 1)
        self.things = torch.tensor(sorted(info.things))

    def write(self, sample: Sample) -> None:
        """Raises UserError for a crowd and for more than 255 objects: the format has neither."""
        if sample.crowd or int(sample.instances.max()) > 255:
            raise UserError(f"{sample.name}: the ade20k layout holds no crowds and 255 objects at most")
        objects = torch.where(torch.isin(sample.semantic, self.things), sample.instances, 0).numpy()
        picture = np.zeros((*objects.shape, 3), np.uint8)
        picture[..., 0] = np.where(objects > 0, self.red[sample.semantic.numpy()], 0)
        picture[..., 1] = objects
        Image.fromarray(picture).save(self.folder / f"{sample.name}.png")

    def finish(self) -> None:
        prepare("ade20k", self.root, [self.split])


class CityscapesObjects:
    """instanceIds: 1000 times the label id and a number within the class; crowds and stuff: the label id."""

    def __init__(self, folder: Path, split: str, info: DatasetInfo) -> None:
        self.folder = folder / "gtFine" / split / "export"
        self.info = info
        self.labels = np.zeros(256, np.int32)
        for label, train in categories.cityscapes_train_ids().items():
            if train is not None:
                self.labels[train] = label

    def write(self, sample: Sample) -> None:
        ids = self.labels[sample.semantic.numpy()]
        used = dict.fromkeys(range(self.info.num_classes), 0)
        for segment in panoptic(sample, self.info)[1]:
            number, label = segment["id"], segment["category_id"]
            if segment["isthing"] and number not in sample.crowd:
                ids[sample.instances.numpy() == number] = OBJECTS * self.labels[label] + used[label]
                used[label] += 1
        self.folder.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(ids.astype(np.uint16))
        picture.save(self.folder / f"{sample.name}_gtFine_instanceIds.png")

    def finish(self) -> None:
        pass


class PanopticFile:
    """PNGs of segment ids in one folder and the JSON about them, in COCO's panoptic format."""

    def __init__(self, pictures: Path, out: Path, info: DatasetInfo) -> None:
        self.pictures, self.out, self.info = pictures, out, info
        self.images: list[dict[str, Any]] = []
        self.annotations: list[dict[str, Any]] = []
        pictures.mkdir(parents=True)

    def write(self, sample: Sample) -> None:
        ids, segments = panoptic(sample, self.info)
        panoptic_picture(ids).save(self.pictures / f"{sample.name}.png")
        rows = [
            {
                "id": segment["id"],
                "category_id": self.info.category(segment["category_id"]),
                "area": segment["area"],
                "bbox": box(ids == segment["id"]),
                "iscrowd": int(segment["id"] in sample.crowd),
            }
            for segment in segments
        ]
        image = _image(sample, len(self.images) + 1)
        self.images.append(image)
        name = f"{sample.name}.png"
        self.annotations.append({"image_id": image["id"], "file_name": name, "segments_info": rows})

    def finish(self) -> None:
        rows = [
            {"id": self.info.category(label), "name": name, "isthing": int(label in self.info.things)}
            for label, name in enumerate(self.info.classes)
        ]
        content = {"images": self.images, "annotations": self.annotations, "categories": rows}
        self.out.parent.mkdir(parents=True, exist_ok=True)
        self.out.write_text(json.dumps(content) + "\n", encoding="utf-8")


class InstanceFile:
    """Objects of things as run-length codes, in COCO's instance format."""

    def __init__(self, out: Path, info: DatasetInfo) -> None:
        self.out, self.info = out, info
        self.images: list[dict[str, Any]] = []
        self.annotations: list[dict[str, Any]] = []

    def write(self, sample: Sample) -> None:
        from pycocotools import mask as rle

        image = _image(sample, len(self.images) + 1)
        self.images.append(image)
        found = objects_of(sample, self.info)
        for label, mask, crowd in zip(found.labels.tolist(), found.masks, found.crowd.tolist(), strict=True):
            packed = rle.encode(np.asfortranarray(mask.numpy().astype(np.uint8)))
            row = {
                "id": len(self.annotations) + 1,
                "image_id": image["id"],
                "category_id": self.info.category(label),
                "iscrowd": int(crowd),
                "area": int(mask.sum()),
                "bbox": box(mask),
                "segmentation": {"size": packed["size"], "counts": packed["counts"].decode("ascii")},
            }
            self.annotations.append(row)

    def finish(self) -> None:
        things = sorted(self.info.things)
        rows = [{"id": self.info.category(label), "name": self.info.classes[label]} for label in things]
        content = {"images": self.images, "annotations": self.annotations, "categories": rows}
        self.out.parent.mkdir(parents=True, exist_ok=True)
        self.out.write_text(json.dumps(content) + "\n", encoding="utf-8")


def objects_of(sample: Sample, info: DatasetInfo) -> Objects:
    """The objects of things, crowds among them, in the order of their numbers."""
    ids, segments = panoptic(sample, info)
    kept = [s for s in segments if s["isthing"] and s["id"] <= int(sample.instances.max())]
    masks = [ids == segment["id"] for segment in kept]
    return Objects(
        labels=torch.tensor([segment["category_id"] for segment in kept], dtype=torch.int64),
        masks=torch.stack(masks) if masks else torch.zeros(0, *sample.size, dtype=torch.bool),
        crowd=torch.tensor([segment["id"] in sample.crowd for segment in kept], dtype=torch.bool),
    )


def box(mask: torch.Tensor) -> list[int]:
    """[x, y, width, height] in pixels of a mask [H,W] that is not empty."""
    rows, columns = mask.any(1).nonzero().flatten(), mask.any(0).nonzero().flatten()
    left, top = int(columns[0]), int(rows[0])
    return [left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1]


def _image(sample: Sample, number: int) -> dict[str, Any]:
    height, width = sample.size
    return {"id": number, "file_name": f"{sample.name}.png", "height": height, "width": width}
