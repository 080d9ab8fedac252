"""COCO's instance format: one JSON for all images, each object with a mask as polygons or run lengths."""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import torch
from pycocotools import mask as rle

from bench.data.archive import AnyPath
from bench.data.base import IGNORE, DatasetInfo, Objects
from bench.data.json_stream import JsonFile
from bench.data.labels import Labels
from bench.data.pairs import Pair
from bench.errors import UserError

_LARGEST = 1 << 16
"""Pixels of a side; what is more is no image's."""
_SHAPE = (
    '{"images": [{"id", "file_name", "height", "width"}, ...], '
    '"annotations": [{"id", "image_id", "category_id", "segmentation", "area", "iscrowd"}, ...]}'
)


@dataclass(frozen=True, eq=False)
class InstanceIndex:
    """Where the annotations of each image are; they stay in the file until they are asked for.

    rows: name of an image -> its row, in order of the images' ids; sizes: int32 [I, 2], height and width;
    ends: int64 [I], the annotations of row i are those from ends[i - 1] to ends[i], in the order of the file;
    starts: int64 [A] and lengths: int32 [A], their places in the file;
    usable: bool [I], whether the image has an object that is no crowd.
    """

    file: JsonFile
    rows: dict[str, int]
    sizes: np.ndarray
    ends: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    usable: np.ndarray

    def annotations(self, row: int) -> list[dict[str, Any]]:
        """The annotations of an image as the file has them."""
        first = int(self.ends[row - 1]) if row else 0
        places = slice(first, int(self.ends[row]))
        return self.file.values(zip(self.starts[places].tolist(), self.lengths[places].tolist(), strict=True))


def read_instances(path: AnyPath) -> InstanceIndex:
    """Goes through the JSON once.

    Raises UserError for a file that is none, for two images of one id or name, and for an annotation of an
    image that is not listed.
    """
    file, images, found, numbers = JsonFile(path), {}, _Found(), _Numbers()
    try:
        for key, value, start, length in file.elements(("images", "annotations")):
            if key == "annotations":
                found.add(numbers(value["image_id"]), start, length, not value.get("iscrowd", 0))
                continue
            number = numbers(value["id"])
            if number in images:
                raise UserError(f"{path}: two images of the id {value['id']}")
            images[number] = _image(value)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise UserError(f"{path}: not instance labels ({error!r}); expected {_SHAPE}") from error
    ids = np.array(sorted(images), np.int64)
    rows = {PurePosixPath(images[number][0]).stem: row for row, number in enumerate(ids.tolist())}
    if len(rows) < len(images):
        raise UserError(f"{path}: {len(images)} images, but {len(rows)} different names")
    row_of = _rows_of(file, ids, found)
    order = np.argsort(row_of, kind="stable")
    return InstanceIndex(
        file=file,
        rows=rows,
        sizes=np.array([images[number][1:] for number in ids.tolist()], np.int32).reshape(-1, 2),
        ends=np.cumsum(np.bincount(row_of, minlength=len(ids))),
        starts=np.array(found.starts, np.int64)[order],
        lengths=np.array(found.lengths, np.int32)[order],
        usable=np.bincount(row_of, np.array(found.single, bool), minlength=len(ids)) > 0,
    )


def _image(listed: dict[str, Any]) -> tuple[str, int, int]:
    """File, height and width of an image. Raises what `read_instances` makes a UserError of."""
    height, width = int(listed["height"]), int(listed["width"])
    if not (0 < height <= _LARGEST and 0 < width <= _LARGEST):
        raise ValueError(f"image {listed['id']} of the size {(height, width)}")
    return str(listed["file_name"]), height, width


class _Numbers:
    """Numbers for the ids of images: themselves, or where they are names (ADE20K) in order of appearance."""

    def __init__(self) -> None:
        self.names: dict[str, int] = {}

    def __call__(self, image: object) -> int:
        number = self.names.setdefault(image, len(self.names)) if isinstance(image, str) else int(image)
        if not 0 <= number < 1 << 62:
            raise ValueError(f"image id {number}")
        return number


class _Found:
    """The annotations in order of the file: image, place, and whether it is no crowd."""

    def __init__(self) -> None:
        self.images, self.starts, self.lengths = array("q"), array("q"), array("i")
        self.single = bytearray()

    def add(self, image: int, start: int, length: int, single: bool) -> None:
        self.images.append(image)
        self.starts.append(start)
        self.lengths.append(length)
        self.single.append(single)


def _rows_of(file: JsonFile, ids: np.ndarray, found: _Found) -> np.ndarray:
    """The row of the image of each annotation. Raises UserError for one whose image is not listed."""
    images = np.array(found.images, np.int64)
    rows = np.searchsorted(ids, images)
    listed = rows < len(ids)
    listed[listed] = ids[rows[listed]] == images[listed]
    if not listed.all():
        lost = int(np.argmin(listed))
        (annotation,) = file.values([(found.starts[lost], found.lengths[lost])])
        number = annotation.get("id")
        raise UserError(f"{file.path}: annotation {number} is of image {images[lost]}, which is not listed")
    return rows


@dataclass(frozen=True, eq=False)
class InstanceLabels:
    """Reads the objects of a pair whose label file is the JSON of an index.

    Masks are those of pycocotools, areas those of the JSON, categories the things of `info`; no pixel has a
    class.
    """

    index: InstanceIndex
    info: DatasetInfo

    def __call__(self, pair: Pair) -> Labels:
        """Raises UserError naming the annotation: unknown category, bad segmentation."""
        row = self.index.rows[pair.name]
        height, width = self.index.sizes[row].tolist()
        classes = {self.info.category(label): label for label in sorted(self.info.things)}
        labels, codes, crowd, areas = [], [], [], []
        for annotation in self.index.annotations(row):
            what = f"{self.index.file.path}: annotation {annotation.get('id')} of {pair.name}"
            category = annotation.get("category_id")
            if not isinstance(category, int) or category not in classes:
                expected = f"{self.info.name} has {len(classes)} from {min(classes)} to {max(classes)}"
                raise UserError(f"{what} has the category {category}, but {expected}")
            codes.append(_code(annotation.get("segmentation"), height, width, what))
            area = annotation.get("area", int(rle.area(codes[-1])))
            if not isinstance(area, (int, float)) or not 0 <= area < math.inf:
                raise UserError(f"{what} has the area {area}")
            many = annotation.get("iscrowd", 0)
            if many not in (0, 1):
                raise UserError(f"{what}: iscrowd is {many!r}, expected 0 or 1")
            labels.append(classes[category])
            crowd.append(bool(many))
            areas.append(float(area))
        objects = Objects(
            labels=torch.tensor(labels, dtype=torch.int64),
            masks=_decoded(codes, height, width),
            crowd=torch.tensor(crowd, dtype=torch.bool),
            areas=torch.tensor(areas, dtype=torch.float64),
        )
        return Labels(np.full((height, width), IGNORE, np.uint8), objects=objects)


def _code(segmentation: Any, height: int, width: int, what: str) -> dict[str, Any]:
    """The run-length code of polygons, or of run lengths in either spelling. Raises UserError."""
    if isinstance(segmentation, list):
        if not segmentation or not all(_is_polygon(p, 2 * (height + width)) for p in segmentation):
            raise UserError(f"{what}: expected polygons [x, y, ...] of 3 points or more, near the image")
        return rle.merge(rle.frPyObjects(segmentation, height, width))
    if not isinstance(segmentation, dict) or not {"size", "counts"} <= set(segmentation):
        raise UserError(f"{what}: expected a segmentation as polygons or as size and counts")
    if list(segmentation["size"]) != [height, width]:
        raise UserError(f"{what}: run lengths of the size {segmentation['size']}, image {[height, width]}")
    counts = segmentation["counts"]
    counts = _run_lengths(counts) if isinstance(counts, str) else counts
    if not isinstance(counts, list) or any(not isinstance(n, int) or n < 0 for n in counts):
        raise UserError(f"{what}: expected run lengths as a string or as numbers from 0")
    if sum(counts) != height * width:  # pycocotools would leave the other pixels as they happen to be
        raise UserError(f"{what}: run lengths of {sum(counts)} pixels, image of {height * width}")
    return rle.frPyObjects({"size": [height, width], "counts": counts}, height, width)


def _run_lengths(text: str) -> list[int]:
    """The numbers in COCO's compressed code: groups of 5 bits from the lowest on in characters from "0" (48),
    32 where another follows, with a sign; from the fourth on, the difference from the last but one."""
    counts: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
        value = shift = 0
    return counts


def _is_polygon(polygon: Any, furthest: float) -> bool:
    if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
        return False
    numbers = all(isinstance(value, (int, float)) for value in polygon)
    return numbers and all(math.isfinite(value) and abs(value) <= furthest for value in polygon)


def _decoded(codes: list[dict[str, Any]], height: int, width: int) -> torch.Tensor:
    """Masks bool [N,H,W]."""
    if not codes:
        return torch.zeros(0, height, width, dtype=torch.bool)
    return torch.from_numpy(rle.decode(codes)).permute(2, 0, 1).contiguous().bool()
