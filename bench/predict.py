"""Results for image files: pictures of them, and files in COCO's formats that other tools read."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from bench.data.base import DatasetInfo, Sample
from bench.data.pairs import read_image
from bench.data.panoptic import panoptic_picture
from bench.data.picture import contact_sheet
from bench.data.resize import from_pil
from bench.evaluate.ap_image import annotation, encode
from bench.evaluate.predict import (
    TestSpec,
    predict_instances,
    predict_panoptic,
    predict_semantic,
    require_task,
)
from bench.files import atomic_files, atomic_write
from models.inference import Instances, Panoptic, Task

_SHOWN_SCORE = 0.5
"""Instances that are drawn; the results hold all of them."""


@dataclass
class Predictor:
    """Segments image files into `out`.

    For each image NAME_overlay.png, the image beside the class colours over it with a legend, and
    NAME_semantic.png, whose palette indices are class ids (255: nothing). Of a panoptic model also
    NAME_panoptic.png, segment ids as R + 256 G + 256^2 B, and for all images panoptic.json, in COCO's
    panoptic format; of an instance model for all images instances.json, in COCO's result format.
    """

    model: nn.Module
    info: DatasetInfo
    task: Task
    test: TestSpec
    device: torch.device | str
    out: Path
    images: list[dict[str, Any]] = field(default_factory=list)
    results: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Raises UserError where the model does not give results of this task at these scales."""
        require_task(self.model.inference, self.task, self.test)

    def run(self, paths: Sequence[Path]) -> Iterator[Path]:
        """Yields each file once it is written; those for all images come last.

        Raises UserError for an image that cannot be read; OSError, which leaves no half-written file.
        """
        for path, name in names(paths).items():
            image = from_pil(read_image(path))
            height, width = image.shape[1:]
            number = _number(path, len(self.images) + 1, {entry["id"] for entry in self.images})
            self.images.append({"id": number, "file_name": path.name, "height": height, "width": width})
            yield from self._write(name, number, image)
        if self.task != "semantic":
            target = self.out / ("panoptic.json" if self.task == "panoptic" else "instances.json")
            atomic_write(target, json.dumps(self._json()) + "\n")
            yield target

    def _write(self, name: str, number: int, image: Tensor) -> list[Path]:
        pictures: dict[str, Image.Image] = {}
        instances = None
        if self.task == "semantic":
            semantic = predict_semantic(self.model, image, self.test, self.device).to(torch.uint8)
        elif self.task == "panoptic":
            found = predict_panoptic(self.model, image, self.info.things, self.test, self.device)
            semantic, instances = _semantic(found, self.info), found.ids
            pictures["panoptic"] = panoptic_picture(found.ids)
            self.results.append(self._annotation(found, number, f"{name}_panoptic.png"))
        else:
            objects = predict_instances(self.model, image, self.info.things, self.test, self.device)
            semantic, instances = _drawn(objects, self.info)
            self.results += self._records(objects, number)
        shown = Sample(image=image, semantic=semantic, name=name, instances=instances)
        pictures = {
            "overlay": contact_sheet([shown], self.info, height=image.shape[1]),
            "semantic": class_map(semantic, self.info),
            **pictures,
        }
        targets = {self.out / f"{name}_{kind}.png": picture for kind, picture in pictures.items()}
        with atomic_files() as stage:
            for target, picture in targets.items():
                picture.save(stage(target))
        return list(targets)

    def _annotation(self, found: Panoptic, number: int, file_name: str) -> dict[str, Any]:
        """COCO's panoptic annotation of an image."""
        masks = torch.stack([found.ids == s.id for s in found.segments]) if found.segments else found.ids[:0]
        segments = []
        for segment, code in zip(found.segments, encode(masks), strict=True):
            record = annotation(segment.id, number, self.info.category(segment.label), code)
            segments.append({
                "id": segment.id, "category_id": record["category_id"], "isthing": int(segment.is_thing),
                "area": int(record["area"]), "bbox": [int(side) for side in record["bbox"]], "iscrowd": 0,
            })  # fmt: skip
        return {"image_id": number, "file_name": file_name, "segments_info": segments}

    def _records(self, objects: Instances, number: int) -> list[dict[str, Any]]:
        """COCO's results, best first; the run-length codes as text."""
        records = []
        codes, scores = encode(objects.masks), objects.scores.tolist()
        for label, score, code in zip(objects.labels.tolist(), scores, codes, strict=True):
            record = annotation(0, number, self.info.category(label), code)
            records.append({
                "image_id": number, "category_id": record["category_id"], "score": score,
                "bbox": record["bbox"],
                "segmentation": {"size": list(code["size"]), "counts": code["counts"].decode("ascii")},
            })  # fmt: skip
        return records

    def _json(self) -> dict[str, Any] | list[dict[str, Any]]:
        if self.task == "instance":
            return self.results
        return {"images": self.images, "annotations": self.results, "categories": categories(self.info)}


def names(paths: Sequence[Path]) -> dict[Path, str]:
    """A name for the results of each image: its stem, with its suffix or as much of its folders as tells it
    from the other images. An image that is given twice appears once."""
    unique = list({path.resolve(): path for path in paths}.values())
    choices = {path: _choices(path.resolve(), index) for index, path in enumerate(unique, start=1)}
    found = {path: next(choice) for path, choice in choices.items()}
    while True:
        counts = Counter(name.lower() for name in found.values())  # file systems may not tell cases apart
        alike = [path for path, name in found.items() if counts[name.lower()] > 1]
        if not alike:
            return found
        found |= {path: next(choices[path]) for path in alike}


def _choices(path: Path, index: int) -> Iterator[str]:
    """Names for an image, ever longer."""
    parts, ending = path.with_suffix("").parts[1:], path.suffix.replace(".", "_")
    for count in range(1, len(parts) + 1):
        name = "_".join(parts[-count:])
        yield from (name, name + ending)
    yield from (f"{name}{ending}_{index}" + "_" * more for more in itertools.count())


def categories(info: DatasetInfo) -> list[dict[str, Any]]:
    """COCO's list of categories."""
    things = [int(label in info.things) for label in range(info.num_classes)]
    return [
        {"id": info.category(i), "name": name, "isthing": things[i], "color": list(info.colors[i])}
        for i, name in enumerate(info.classes)
    ]


def class_map(semantic: Tensor, info: DatasetInfo) -> Image.Image:
    """Class ids [H, W] as a palette image in the colours of the classes."""
    picture = Image.fromarray(semantic.numpy(), mode="P")
    picture.putpalette([channel for color in info.colors for channel in color])
    return picture


def _semantic(found: Panoptic, info: DatasetInfo) -> Tensor:
    """The class of every pixel, uint8 [H, W]."""
    table = torch.full((max([0, *(s.id for s in found.segments)]) + 1,), info.ignore_index, dtype=torch.uint8)
    for segment in found.segments:
        table[segment.id] = segment.label
    return table[found.ids.long()]


def _drawn(objects: Instances, info: DatasetInfo) -> tuple[Tensor, Tensor]:
    """Classes uint8 [H, W] and numbers int32 [H, W] of the confident objects, the best on top."""
    semantic = torch.full(objects.masks.shape[1:], info.ignore_index, dtype=torch.uint8)
    numbers = torch.zeros(objects.masks.shape[1:], dtype=torch.int32)
    for i in (objects.scores >= _SHOWN_SCORE).nonzero().flatten().flip(0).tolist():
        semantic[objects.masks[i]] = int(objects.labels[i])
        numbers[objects.masks[i]] = i + 1
    return semantic, numbers


def _number(path: Path, default: int, taken: set[int]) -> int:
    """COCO's files are named by the number of the image; others are counted."""
    number = int(path.stem) if path.stem.isdecimal() else default
    while number in taken:
        number += 1
    return number
