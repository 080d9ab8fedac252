"""Inference of mask classification, as released with Mask2Former, after MaskFormer (section 3.4)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
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
    crop_and_resize,
    resize,
)
from models.outputs import SegmentationOutput


@dataclass(frozen=True, kw_only=True)
class MaskClassificationSpec(InferenceSpec):
    """Thresholds as in `panoptic_inference`, `top` as in `instance_inference`, `masks_first` as in
    `semantic_inference`; the defaults are the released Mask2Former's."""

    part: ClassVar[str] = "mask_classification"
    reads: ClassVar[tuple[Output, ...]] = ("set",)
    least: ClassVar[dict[str, int]] = {"top": 1}
    object_threshold: float = 0.8
    overlap_threshold: float = 0.8
    top: int = 100
    masks_first: bool = False
    pixels: Literal["inside", "won"] = "inside"
    """What a panoptic segment consists of: the pixels it won inside its own mask, or all that it won (the
    released MaskFormer)."""

    def build(self) -> MaskClassification:
        return MaskClassification(self)


class MaskClassification(Inference):
    """Every task from one kind of output."""

    tasks: tuple[Task, ...] = ("semantic", "panoptic", "instance")

    def __init__(self, spec: MaskClassificationSpec) -> None:
        self.spec = spec

    def semantic(self, output: SegmentationOutput, frame: Frame) -> Tensor:
        return semantic_inference(output, *frame, masks_first=self.spec.masks_first)

    def semantic_map(self, output: SegmentationOutput, frame: Frame) -> Tensor:
        return semantic_map(output, *frame, masks_first=self.spec.masks_first)

    def panoptic(self, output: SegmentationOutput, frame: Frame, things: Collection[int]) -> list[Panoptic]:
        thresholds = self.spec.object_threshold, self.spec.overlap_threshold
        return panoptic_inference(output, *frame, things, *thresholds, self.spec.pixels)

    def instances(
        self, output: SegmentationOutput, frame: Frame, things: Collection[int] | None = None
    ) -> list[Instances]:
        return instance_inference(output, *frame, self.spec.top, things)


def full_masks(mask_logits: Tensor, padded_size: Size, image_size: Size, output_size: Size) -> Tensor:
    """Mask logits [B, Q, h, w] at `output_size`, as panoptic and instance inference use them."""
    return crop_and_resize(resize(mask_logits, padded_size), image_size, output_size)


def semantic_scores(class_logits: Tensor, mask_logits: Tensor) -> Tensor:
    """sum over q of p_q(class) * sigmoid(mask_q): [B, Q, K+1] and [B, Q, H, W] give [B, K, H, W].

    The last class, "no object", is left out after the softmax.
    """
    classes = class_logits.softmax(-1)[..., :-1]
    return torch.einsum("bqc,bqhw->bchw", classes, mask_logits.sigmoid())


def semantic_inference(
    output: SegmentationOutput,
    padded_size: Size,
    image_size: Size,
    output_size: Size,
    *,
    masks_first: bool = False,
) -> Tensor:
    """Class scores [B, K, *output_size]; their argmax over classes is the semantic map.

    Args:
        masks_first: models that also give panoptic or instance results crop and resize the mask logits, and
            combine them after that; semantic models combine at the padded size, then crop and resize the
            scores.
    """
    if masks_first:
        masks = full_masks(output.mask_logits, padded_size, image_size, output_size)
        return semantic_scores(output.class_logits, masks)
    scores = semantic_scores(output.class_logits, resize(output.mask_logits, padded_size))
    return crop_and_resize(scores, image_size, output_size)


def semantic_map(
    output: SegmentationOutput,
    padded_size: Size,
    image_size: Size,
    output_size: Size,
    *,
    masks_first: bool = False,
    at_once: int = 50,
) -> Tensor:
    """The argmax of `semantic_inference` over classes, int64 [B, *output_size], `at_once` classes at a time.

    The scores of all classes, at two sizes, would be most of the memory that inference needs: 1.2 GB each for
    150 classes at 1024 x 2048.
    """
    classes = output.class_logits.softmax(-1)[..., :-1]
    if masks_first:
        masks = full_masks(output.mask_logits, padded_size, image_size, output_size).sigmoid_()
    else:
        masks = resize(output.mask_logits, padded_size).sigmoid_()
    best = labels = None
    for first in range(0, classes.shape[-1], at_once):
        scores = torch.einsum("bqc,bqhw->bchw", classes[..., first : first + at_once], masks)
        if not masks_first:
            scores = crop_and_resize(scores, image_size, output_size)
        score, label = scores.max(1)
        if best is None:
            best, labels = score, label
        else:
            better = score > best
            labels = torch.where(better, label + first, labels)
            best = torch.where(better, score, best)
    return labels


def panoptic_inference(
    output: SegmentationOutput,
    padded_size: Size,
    image_size: Size,
    output_size: Size,
    things: Collection[int],
    object_threshold: float = 0.8,
    overlap_threshold: float = 0.8,
    pixels: Literal["inside", "won"] = "inside",
) -> list[Panoptic]:
    """Panoptic maps, one for each image.

    Each pixel goes to the query with the largest p(class) * sigmoid(mask) among the confident ones; a query
    keeps what it wins of its own mask (sigmoid >= 0.5) if that is enough of it. Segments of the same stuff
    class are one.

    Args:
        things: classes whose segments stay apart.
        object_threshold: a query takes part if its best class is not "no object" and has a probability above
            this.
        overlap_threshold: smallest ratio of pixels won to pixels in the mask.
        pixels: whether a segment keeps only those inside its mask.
    """
    masks = full_masks(output.mask_logits, padded_size, image_size, output_size).sigmoid()
    scores, labels = output.class_logits.softmax(-1).max(-1)
    keep = (labels != output.class_logits.shape[-1] - 1) & (scores > object_threshold)
    return [
        _merge(scores[i, kept], labels[i, kept], masks[i, kept], frozenset(things), overlap_threshold, pixels)
        for i, kept in enumerate(keep)
    ]


def instance_inference(
    output: SegmentationOutput,
    padded_size: Size,
    image_size: Size,
    output_size: Size,
    top: int = 100,
    things: Collection[int] | None = None,
) -> list[Instances]:
    """The `top` best pairs of query and class, one result for each image; a query may appear with several
    classes.

    score = p(class) * mean of sigmoid(mask) inside the mask (logit > 0).

    Args:
        top: pairs taken before `things` is applied.
        things: classes kept (models with panoptic inference); None keeps all.
    """
    masks = full_masks(output.mask_logits, padded_size, image_size, output_size)
    classes = output.class_logits.softmax(-1)[..., :-1]
    return [_instances(classes[i], masks[i], top, things) for i in range(len(masks))]


def _merge(
    scores: Tensor,
    labels: Tensor,
    masks: Tensor,
    things: frozenset[int],
    overlap_threshold: float,
    pixels: Literal["inside", "won"],
) -> Panoptic:
    """Scores [N], labels [N] and mask probabilities [N, H, W] of the confident queries to one map."""
    ids = torch.zeros(masks.shape[1:], dtype=torch.int32, device=masks.device)
    segments: list[Segment] = []
    if not len(labels):
        return Panoptic(ids, segments)
    winner = (scores[:, None, None] * masks).argmax(0)
    stuff: dict[int, int] = {}
    for query, label in enumerate(labels.tolist()):
        won, inside = winner == query, masks[query] >= 0.5
        kept = won & inside if pixels == "inside" else won
        won_area, area, kept_area = torch.stack([won.sum(), inside.sum(), kept.sum()]).tolist()
        if not kept_area or not area or won_area / area < overlap_threshold:
            continue
        if label in stuff:
            ids[kept] = stuff[label]
            continue
        segments.append(Segment(len(segments) + 1, label, label in things))
        ids[kept] = segments[-1].id
        if label not in things:
            stuff[label] = segments[-1].id
    return Panoptic(ids, segments)


def _instances(classes: Tensor, masks: Tensor, top: int, things: Collection[int] | None) -> Instances:
    """Probabilities [Q, K] and mask logits [Q, H, W] of one image."""
    scores, index = classes.flatten().topk(min(top, classes.numel()), sorted=False)
    queries, labels = index // classes.shape[1], index % classes.shape[1]
    if things is not None:
        kept = torch.isin(labels, torch.tensor(sorted(things), dtype=labels.dtype, device=labels.device))
        scores, queries, labels = scores[kept], queries[kept], labels[kept]
    chosen = masks[queries]
    inside = chosen > 0
    quality = (chosen.sigmoid() * inside).sum((1, 2)) / (inside.sum((1, 2)) + 1e-6)
    return Instances(inside, labels, scores * quality)
