"""Panoptic labels from semantic and instance labels."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.data.base import DatasetInfo, Sample


def panoptic(sample: Sample, info: DatasetInfo) -> tuple[Tensor, list[dict[str, int]]]:
    """Panoptic labels of a sample with instance labels: (segment ids int32 [H,W], segments).

    A segment is {"id", "category_id", "isthing", "area"}: one for each object, and one for each stuff class.
    Objects keep their number; stuff class c has the id 1000 + c; ignored pixels have the id 0.
    Raises ValueError where the sample has no instance labels or an object has more than one class.
    """
    if sample.instances is None:
        raise ValueError(f"{sample.name} has no instance labels")
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
