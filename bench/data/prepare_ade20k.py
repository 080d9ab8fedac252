"""ADE20K's panoptic PNG and JSON and its instance JSON, from `annotations` and `annotations_instance`.

As in the released preparation (Mask2Former, datasets/prepare_ade20k_*.py): stuff comes from the semantic
labels, things from the instance labels and are pasted over it, things without an object become void. Ids of
segments are colours of their classes there, and random ones near by for further objects; here those are the
next free ids. Areas and boxes of stuff are those that the PNG shows (the released ones are from before things
were pasted, and list stuff that is wholly covered).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.data import categories
from bench.data.ade20k import FOLDER, LAYOUT, PUBLISHED, SPLITS, TABLE, short
from bench.data.archive import AnyPath
from bench.data.labels import decode, map_labels, read_labels
from bench.data.pairs import IMAGE_SUFFIXES, list_files, need_folder, opened, pair_up
from bench.data.panoptic import panoptic_picture
from bench.errors import UserError
from bench.files import atomic_path

INFO = categories.ade20k()
THINGS = sorted(INFO.things)
"""Category c of annotations_instance, from 1, is the class THINGS[c - 1]."""
COLORS = tuple(
    (140, 140, 200) if name == "skyscraper" else color
    for name, color in zip(INFO.classes, INFO.colors, strict=True)
)
"""As the released preparation has them: elsewhere in that release road and skyscraper have one colour."""


@dataclass(frozen=True)
class Source:
    """The files of one image; `folder` is where the panoptic PNG goes."""

    name: str
    image: AnyPath
    semantic: AnyPath
    instances: AnyPath
    folder: Path


def sources(root: str | Path, split: str) -> list[Source]:
    """What there is to convert. Raises UserError for missing folders and files, or a root that is a zip."""
    base = opened(root, FOLDER)
    folder = SPLITS[split]
    images, semantic, instances = (
        need_folder("ade20k", base / kind / folder, LAYOUT, PUBLISHED)
        for kind in ("images", "annotations", "annotations_instance")
    )
    found, layout = list_files(images, IMAGE_SUFFIXES), f"{images}/*.jpg"
    pairs = pair_up(found, list_files(semantic, (".png",)), semantic / "{name}.png", layout)
    objects = pair_up(found, list_files(instances, (".png",)), instances / "{name}.png", layout)
    out = target(root) / f"ade20k_panoptic_{short(split)}"
    return [
        Source(pair.name, pair.image, pair.labels, other.labels, out)
        for pair, other in zip(pairs, objects, strict=True)
    ]


def target(root: str | Path) -> Path:
    """The folder for what is made. Raises UserError for a root that is a zip."""
    base = opened(root, FOLDER)
    return base if isinstance(base, Path) else base.outside()


def panoptic_record(source: Source) -> dict[str, Any]:
    """Writes the PNG and gives the image and its annotation. Raises UserError for impossible labels."""
    semantic, classes, objects = read(source)
    ids = np.zeros(semantic.shape, np.int64)
    taken = {0} | {_color_id(label) for label in range(INFO.num_classes) if label not in INFO.things}
    owner: dict[int, int] = {}
    for label in np.unique(semantic).tolist():
        if label < INFO.num_classes and label not in INFO.things:
            ids[semantic == label] = _color_id(label)
            owner[_color_id(label)] = label
    for number, label in classes.items():
        segment = _color_id(label)
        while segment in taken:
            segment = (segment + 1) % (1 << 24)
        taken.add(segment)
        owner[segment] = label
        ids[objects == number] = segment
    segments = [
        {"id": segment, "category_id": label, **_extent(ids == segment), "iscrowd": 0}
        for segment, label in owner.items()
        if (ids == segment).any()
    ]
    with atomic_path(source.folder / f"{source.name}.png") as path:
        panoptic_picture(torch.from_numpy(ids)).save(path)
    annotation = {"image_id": source.name, "file_name": f"{source.name}.png", "segments_info": segments}
    return {"image": _image(source, semantic), "annotation": annotation}


def instance_record(source: Source) -> dict[str, Any]:
    """The image and its annotations, without ids. Raises UserError for impossible labels."""
    from pycocotools import mask as rle

    semantic, classes, objects = read(source)
    annotations = []
    for number, label in classes.items():
        mask = objects == number
        packed = rle.encode(np.asfortranarray(mask.astype(np.uint8)))
        packed["counts"] = packed["counts"].decode("ascii")
        annotations.append(
            {
                "image_id": source.name,
                "iscrowd": 0,
                "category_id": label,
                **_extent(mask),
                "segmentation": packed,
            }
        )
    return {"image": _image(source, semantic), "annotations": annotations}


def read(source: Source) -> tuple[np.ndarray, dict[int, int], np.ndarray]:
    """(classes uint8 [H,W], class of each object by its number, numbers of the objects uint8 [H,W])."""
    picture = np.asarray(decode(source.instances))
    if picture.ndim != 3 or picture.dtype != np.uint8:
        raise UserError(f"{source.instances}: expected categories in red and objects in green")
    semantic = map_labels(read_labels(source.semantic), TABLE, source.semantic)
    if picture.shape[:2] != semantic.shape:
        sizes = f"{picture.shape[1]}x{picture.shape[0]} pixels, {source.semantic} has"
        raise UserError(f"{source.instances}: {sizes} {semantic.shape[1]}x{semantic.shape[0]}")
    kinds, objects = picture[..., 0], picture[..., 1]
    classes = {}
    for code in np.unique(objects.astype(np.int32) << 8 | kinds).tolist():
        number, kind = code >> 8, code & 255
        if not number:
            continue
        if number in classes:
            raise UserError(f"{source.instances}: object {number} has more than one category")
        if not 1 <= kind <= len(THINGS):
            raise UserError(f"{source.instances}: object {number} has the category {kind}; expected 1 to 100")
        classes[number] = THINGS[kind - 1]
    return semantic, classes, objects


def panoptic_json(records: list[dict[str, Any]]) -> dict[str, Any]:
    """The content of ade20k_panoptic_SPLIT.json."""
    rows = [
        {"name": name, "id": label, "isthing": int(label in INFO.things), "color": list(COLORS[label])}
        for label, name in enumerate(INFO.classes)
    ]
    return {
        "images": [record["image"] for record in records],
        "annotations": [record["annotation"] for record in records],
        "categories": rows,
    }


def instance_json(records: list[dict[str, Any]]) -> dict[str, Any]:
    """The content of ade20k_instance_SPLIT.json; annotations are numbered from 1."""
    annotations = [annotation for record in records for annotation in record["annotations"]]
    return {
        "images": [record["image"] for record in records],
        "categories": [{"id": label, "name": INFO.classes[label]} for label in THINGS],
        "annotations": [{"id": i, **annotation} for i, annotation in enumerate(annotations, 1)],
    }


def _color_id(label: int) -> int:
    red, green, blue = COLORS[label]
    return red | green << 8 | blue << 16


def _image(source: Source, labels: np.ndarray) -> dict[str, Any]:
    height, width = labels.shape
    return {"id": source.name, "file_name": source.image.name, "width": width, "height": height}


def _extent(mask: np.ndarray) -> dict[str, Any]:
    """Area and box (x, y, width, height) of a mask that is not empty."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    top, left = int(rows[0]), int(columns[0])
    box = [left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1]
    return {"area": int(np.count_nonzero(mask)), "bbox": box}
