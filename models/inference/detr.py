"""Inference as released with DETR: every pixel goes to the query with the largest mask logit."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from models.inference.base import (
    Frame,
    Inference,
    InferenceSpec,
    Instances,
    Output,
    Panoptic,
    Segment,
    Size,
    Task,
    resize,
)
from models.outputs import BoxOutput


@dataclass(frozen=True, kw_only=True)
class DETRInferenceSpec(InferenceSpec):
    """What `DETRInference` keeps; the defaults are the released DETR's."""

    part: ClassVar[str] = "detr_argmax"
    reads: ClassVar[tuple[Output, ...]] = ("boxes",)
    least: ClassVar[dict[str, int]] = {"top": 1}
    threshold: float = 0.85
    """Panoptic: a query takes part if its best class is not "no object" and more probable than this."""
    smallest: int = 4
    """Panoptic: segments of so many pixels of the result, or fewer, are removed."""
    top: int = 100
    """Instances of a model with sigmoid scores: the best pairs of query and class."""

    def build(self) -> DETRInference:
        return DETRInference(self)


class DETRInference(Inference):
    """Panoptic maps without void, and instances.

    All raise ValueError for the output of a model without a mask head.
    """

    tasks: tuple[Task, ...] = ("panoptic", "instance")

    def __init__(self, spec: DETRInferenceSpec) -> None:
        self.spec = spec

    def panoptic(self, output: BoxOutput, frame: Frame, things: Collection[int]) -> list[Panoptic]:
        """Panoptic maps, one for each image.

        Each pixel goes to the confident query with the largest mask logit. Segments of one stuff class become
        one; then those that are too small are removed and the pixels are given out anew, without joining,
        until none is too small: the smaller parts of joined segments are gone by then.
        """
        masks_of = _masks(output)
        scores, labels = output.best()
        keep = (labels >= 0) & (scores > self.spec.threshold)
        maps = []
        for image, kept in enumerate(keep):
            masks = _within(masks_of[image, kept], frame)
            maps.append(self._merge(labels[image, kept], masks, frame, frozenset(things)))
        return maps

    def _merge(self, labels: Tensor, masks: Tensor, frame: Frame, things: frozenset[int]) -> Panoptic:
        """Labels [N] and mask logits [N, *frame.image_size]."""
        classes = labels.tolist()
        first = {label: i for i, label in reversed(list(enumerate(classes)))}
        owners = [i if label in things else first[label] for i, label in enumerate(classes)]
        owner = torch.tensor(owners, dtype=torch.int64, device=masks.device)
        while True:
            if not len(masks):
                return Panoptic(torch.zeros(frame.output_size, dtype=torch.int32, device=masks.device), [])
            winner = _nearest_pixels(owner[masks.softmax(0).argmax(0)], frame.output_size)
            large = torch.bincount(winner.flatten(), minlength=len(masks)) > self.spec.smallest
            kept = large.tolist()
            if all(kept):
                break
            masks = masks[large]
            classes = [label for label, stays in zip(classes, kept, strict=True) if stays]
            owner = torch.arange(len(masks), device=masks.device)
        segments = [Segment(i, label, label in things) for i, label in enumerate(classes, start=1)]
        return Panoptic((winner + 1).to(torch.int32), segments)

    def instances(
        self, output: BoxOutput, frame: Frame, things: Collection[int] | None = None
    ) -> list[Instances]:
        """One instance a query, of its best class but "no object", scored by that class's probability; with
        sigmoid scores the `top` best pairs of query and class. Masks where the sigmoid is above 1/2.

        Args:
            things: classes kept; None keeps all.
        """
        pairs = zip(output.probabilities(), _masks(output), strict=True)
        return [self._instances(found, masks, output.sigmoid, frame, things) for found, masks in pairs]

    def _instances(
        self,
        probabilities: Tensor,
        mask_logits: Tensor,
        pairs: bool,
        frame: Frame,
        things: Collection[int] | None,
    ) -> Instances:
        """Probabilities [Q, K] and mask logits [Q, h, w] of one image."""
        if pairs:
            scores, index = probabilities.flatten().topk(min(self.spec.top, probabilities.numel()))
            queries, labels = index // probabilities.shape[1], index % probabilities.shape[1]
        else:
            scores, labels = probabilities.max(-1)
            queries = torch.arange(len(scores), device=scores.device)
        if things is not None:
            kept = torch.isin(labels, torch.tensor(sorted(things), dtype=labels.dtype, device=labels.device))
            scores, queries, labels = scores[kept], queries[kept], labels[kept]
        inside = _within(mask_logits[queries], frame).sigmoid() > 0.5
        masks = F.interpolate(inside[:, None].float(), size=frame.output_size, mode="nearest")[:, 0].bool()
        return Instances(masks, labels, scores)


def _masks(output: BoxOutput) -> Tensor:
    if output.mask_logits is None:
        raise ValueError("the output has no masks: its model is without a mask head")
    return output.mask_logits


def _within(mask_logits: Tensor, frame: Frame) -> Tensor:
    """[N, h, w] at the padded size, without the padding: [N, *frame.image_size]."""
    height, width = frame.image_size
    if not len(mask_logits):
        return mask_logits.new_zeros(0, height, width)
    return resize(mask_logits[:, None].float(), frame.padded_size)[:, 0, :height, :width]


def _nearest_pixels(labels: Tensor, size: Size) -> Tensor:
    """The map [H, W] at another size, each pixel the one below its centre, exactly as Pillow resizes."""
    rows, columns = (
        torch.from_numpy(_nearest(length, to)).to(labels.device)
        for length, to in zip(labels.shape, size, strict=True)
    )
    return labels[rows[:, None], columns]


def _nearest(length: int, to: int) -> np.ndarray:
    """Pillow adds up the steps, so its rounding is that of a running sum."""
    steps = np.full(to, length / to)
    steps[0] *= 0.5
    return np.minimum(np.add.accumulate(steps).astype(np.int64), length - 1)
