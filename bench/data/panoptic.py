"""Panoptic labels: from semantic and instance labels, and as COCO keeps them in PNG files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bench.data.base import DatasetInfo, Sample
from bench.data.pairs import decode
from bench.errors import UserError


def panoptic(sample: Sample, info: DatasetInfo) -> tuple[Tensor, list[dict[str, int]]]:
    """Panoptic labels of a sample with instance labels: (segment ids int32 [H,W], segments).

    A segment is {"id", "category_id", "isthing", "area"}: one for each object, and one for each stuff class.
    Objects keep their number; stuff class c has the id 1000 + c; ignored pixels have the id 0.
    Raises UserError where the sample has no instance labels, ValueError where an object has more than one
    class.
    """
    if sample.instances is None:
        raise UserError(f"{sample.name} has no instance labels")
    stuff = (sample.instances == 0) & (sample.semantic != info.ignore_index)
    ids = torch.where(stuff, 1000 + sample.semantic.int(), sample.instances)
    segments = []
    for segment in torch.unique(ids).tolist():
        if segment == 0:
            continue
        mask = ids == segment
        labels = torch.unique(sample.semantic[mask]).tolist()
        if len(labels) != 1:
            raise ValueError(f"{sample.name}: object {segment} has the classes {labels}")
        thing, area = int(labels[0] in info.things), int(mask.sum())
        segments.append({"id": segment, "category_id": labels[0], "isthing": thing, "area": area})
    return ids, segments


def read_panoptic(path: Path) -> np.ndarray:
    """Segment ids uint32 [H,W] from a PNG that holds them as R + 256 G + 256^2 B. Raises UserError."""
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
