"""COCO's panoptic format: a PNG of segment ids for each image, and a JSON that says what the segments are."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from bench.data.archive import AnyPath
from bench.data.base import IGNORE, DatasetInfo
from bench.data.json_stream import JsonFile
from bench.data.labels import Labels
from bench.data.pairs import IMAGE_SUFFIXES, Pair, list_files, pair_up
from bench.data.panoptic import read_panoptic
from bench.errors import UserError

_SHAPE = (
    '{"annotations": [{"file_name": "NAME.png", "segments_info": '
    '[{"id": 1 to 16777215, "category_id": number, "iscrowd": 0 or 1}, ...]}, ...]}'
)


@dataclass(frozen=True)
class Segments:
    """The segments of every image of a JSON, packed, for 100,000 images fit into memory then.

    rows: name of an image -> its part of the arrays ids int64 [S], classes uint8 [S], crowd bool [S].
    """

    path: AnyPath
    rows: dict[str, slice]
    ids: np.ndarray
    classes: np.ndarray
    crowd: np.ndarray


def read_segments(path: AnyPath, info: DatasetInfo) -> Segments:
    """The JSON of a panoptic data set whose categories are those of `info`, read a piece at a time.

    Raises UserError for a file that is none, for a category that the data set does not have, for two segments
    or two images of one name, and for a segment that does not say whether it is a crowd: as an object or
    stuff it would count in PQ.
    """
    classes = {info.category(label): label for label in range(info.num_classes)}
    rows: dict[str, slice] = {}
    ids, labels, crowd = array("q"), bytearray(), bytearray()
    try:
        for element in JsonFile(path).elements(("annotations",)):
            name, segments = PurePosixPath(element.value["file_name"]).stem, element.value["segments_info"]
            own = {int(segment["id"]) for segment in segments}
            if name in rows:
                raise UserError(f"{path}: two images of the name {name}")
            if len(own) < len(segments) or min(own, default=1) < 1 or max(own, default=1) >= 1 << 24:
                raise UserError(f"{path}: {name} has segments without an id of their own")
            rows[name] = slice(len(ids), len(ids) + len(segments))
            for segment in segments:
                category = segment["category_id"]
                if category not in classes:
                    what = f"segment {segment['id']} of {name} has the category {category}"
                    raise UserError(f"{path}: {what}, {_has(info)}")
                if segment["iscrowd"] not in (0, 1):
                    raise ValueError(f"iscrowd of segment {segment['id']} is {segment['iscrowd']!r}")
                ids.append(int(segment["id"]))
                labels.append(classes[category])
                crowd.append(segment["iscrowd"])
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise UserError(f"{path}: not panoptic labels ({error!r}); expected {_SHAPE}") from error
    return Segments(
        path, rows, np.array(ids, np.int64), np.frombuffer(labels, np.uint8), np.frombuffer(crowd, bool)
    )


@dataclass(frozen=True)
class PanopticLabels:
    """Reads the labels of a pair whose label file is a PNG of segment ids.

    Objects are numbered from 1 in the order of the JSON: the things, and whatever is a crowd. Void, the id 0,
    is ignored.
    """

    segments: Segments
    info: DatasetInfo

    def __call__(self, pair: Pair) -> Labels:
        """Raises UnreadableFile; UserError naming an id of the PNG that the JSON lacks, or the reverse."""
        ids = read_panoptic(pair.labels)
        part = self.segments.rows[pair.name]
        listed, classes = self.segments.ids[part], self.segments.classes[part]
        crowd = self.segments.crowd[part]
        self._compare(pair, ids, listed)
        objects = crowd | np.isin(classes, sorted(self.info.things))
        numbers = np.where(objects, np.cumsum(objects), 0).astype(np.int32)
        order = np.argsort(listed)
        rank = np.searchsorted(listed[order], ids)
        rank[ids == 0] = len(listed)
        semantic = np.append(classes[order], np.uint8(IGNORE))[rank]
        instances = np.append(numbers[order], np.int32(0))[rank]
        return Labels(semantic, instances, frozenset(numbers[crowd].tolist()))

    def _compare(self, pair: Pair, ids: np.ndarray, listed: np.ndarray) -> None:
        found, pixels = np.unique(ids, return_counts=True)
        known = set(listed.tolist())
        extra = [
            f"segment {i} on {n} pixels"
            for i, n in zip(found.tolist(), pixels.tolist(), strict=True)
            if i and i not in known
        ]
        if extra:
            raise UserError(f"{pair.labels}: {_first(extra)} is not in {self.segments.path}")
        lost = [f"segment {i} of {pair.name}" for i in sorted(known - set(found.tolist()))]
        if lost:
            raise UserError(f"{self.segments.path}: {_first(lost)} is not in {pair.labels}")


def panoptic_pairs(images: AnyPath, labels: AnyPath, segments: Segments, layout: str) -> list[Pair]:
    """The images in a folder with their PNGs. Raises UserError where JSON, images and PNGs do not match."""
    pairs = pair_up(
        list_files(images, IMAGE_SUFFIXES), list_files(labels, (".png",)), labels / "{name}.png", layout
    )
    names = {pair.name for pair in pairs}
    for name in segments.rows:
        if name not in names:
            raise UserError(f"{segments.path}: no image {images / name}.jpg for the labels of {name}")
    for pair in pairs:
        if pair.name not in segments.rows:
            raise UserError(f"{pair.image}: {segments.path} says nothing about it")
    return pairs


def _has(info: DatasetInfo) -> str:
    ids = [info.category(label) for label in range(info.num_classes)]
    return f"but {info.name} has {len(ids)} categories from {min(ids)} to {max(ids)}"


def _first(faults: list[str]) -> str:
    return faults[0] + (f" (and {len(faults) - 1} more)" if len(faults) > 1 else "")
