"""Panoptic labels: from semantic and instance labels, and as COCO keeps them in PNG files."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bench.data.archive import AnyPath
from bench.data.base import DatasetInfo, Sample
from bench.data.labels import decode
from bench.data.png_ids import segment_ids
from bench.errors import UserError


def panoptic(sample: Sample, info: DatasetInfo) -> tuple[Tensor, list[dict[str, int]]]:
    """Panoptic labels of a sample with instance labels: (segment ids int32 [H,W], segments).

    A segment is {"id", "category_id", "isthing", "iscrowd", "area"}: one for each object, and one for each
    stuff class, in order of their ids. Objects keep their number; stuff class c has the id base + c, where
    base is 1000, or one more than the largest number; ignored pixels have the id 0.
    Raises UserError where the sample has no instance labels, ValueError where an object has more than one
    class.
    """
    if sample.instances is None:
        raise UserError(f"{sample.name} has no instance labels")
    labels = sample.semantic.int()
    base = max(1000, int(sample.instances.max()) + 1)
    ids = torch.where(sample.instances == 0, base + labels, sample.instances)
    ids = torch.where(labels == info.ignore_index, 0, ids)
    pairs, areas = torch.unique(ids.long() * 256 + labels, return_counts=True)
    segments: dict[int, dict[str, int]] = {}
    for pair, area in zip(pairs.tolist(), areas.tolist(), strict=True):
        number, label = divmod(pair, 256)
        if number in segments:
            classes = [segments[number]["category_id"], label]
            raise ValueError(f"{sample.name}: object {number} has the classes {classes}")
        if number:
            segments[number] = {
                "id": number, "category_id": label, "isthing": int(label in info.things),
                "iscrowd": int(number in sample.crowd), "area": area,
            }  # fmt: skip
    return ids, list(segments.values())


def read_panoptic(path: AnyPath) -> np.ndarray:
    """Segment ids uint32 [H,W] from a PNG that holds them as R + 256 G + 256^2 B. Raises UserError."""
    try:
        ids = segment_ids(path.read_bytes())
    except OSError:  # which the usual way tells
        ids = None
    if ids is not None:
        return ids
    image = decode(path)
    if image.mode not in ("RGB", "RGBA"):
        raise UserError(f"{path}: expected segment ids as RGB, found a picture of mode {image.mode}")
    packed = np.frombuffer(image.convert("RGB").tobytes("raw", "RGBX"), dtype="<u4")
    return (packed & 0xFFFFFF).reshape(image.height, image.width)


def panoptic_picture(ids: Tensor) -> Image.Image:
    """Segment ids [H,W] below 256^3 as an RGB picture: R = id mod 256, and so on."""
    numbers = ids.cpu().numpy().astype(np.uint32)
    channels = [(numbers >> shift & 0xFF).astype(np.uint8) for shift in (0, 8, 16)]
    return Image.fromarray(np.stack(channels, -1))
