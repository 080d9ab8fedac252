"""Inference of mask classification, as released with Mask2Former, after MaskFormer (section 3.4)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

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
from models.inference.sliced import held, slices
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
    frame = Frame(padded_size, image_size, output_size)
    scores = _scores(_classes(output), _probabilities(output.mask_logits, frame, masks_first))
    return scores if masks_first else crop_and_resize(scores, image_size, output_size)


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
    frame, classes = Frame(padded_size, image_size, output_size), _classes(output)
    masks = _probabilities(output.mask_logits, frame, masks_first)
    best = labels = None
    for first in range(0, classes.shape[-1], at_once):
        scores = _scores(classes[..., first : first + at_once], masks)
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


def _classes(output: SegmentationOutput) -> Tensor:
    """Probabilities [B, Q, K] of the classes but "no object"."""
    return output.class_logits.softmax(-1)[..., :-1]


def _probabilities(mask_logits: Tensor, frame: Frame, masks_first: bool) -> Callable[[], Iterable[Tensor]]:
    """Gives the masks' probabilities [B, n, H, W] in slices of the queries, as often as it is called: all at
    once where they can be held."""

    def full(logits: Tensor) -> Tensor:
        return (full_masks(logits, *frame) if masks_first else resize(logits, frame.padded_size)).sigmoid_()

    sizes = (frame.padded_size, frame.output_size) if masks_first else (frame.padded_size,)
    whole = held(mask_logits, full, *sizes)
    if whole is not None:
        return lambda: (whole,)
    return lambda: slices(mask_logits, full, *sizes)


def _scores(classes: Tensor, masks: Callable[[], Iterable[Tensor]]) -> Tensor:
    """sum over q of p_q(class) * mask_q: [B, Q, K] and masks [B, n, H, W] of all Q give [B, K, H, W]."""
    total, first = None, 0
    for part in masks():
        rows = classes[:, first : first + part.shape[1]]
        scores = torch.einsum("bqc,bqhw->bchw", rows, part)
        total = scores if total is None else total.add_(scores)
        first += part.shape[1]
    return total


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
    frame = Frame(padded_size, image_size, output_size)
    scores, labels = output.class_logits.softmax(-1).max(-1)
    keep = (labels != output.class_logits.shape[-1] - 1) & (scores > object_threshold)
    thing_classes, maps = frozenset(things), []
    for i, kept in enumerate(keep):
        won = _winners(scores[i, kept], output.mask_logits[i : i + 1, kept], frame)
        maps.append(_merge(labels[i, kept].tolist(), won, thing_classes, overlap_threshold, pixels))
    return maps


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
    frame, classes = Frame(padded_size, image_size, output_size), _classes(output)
    return [
        _instances(classes[i], output.mask_logits[i : i + 1], frame, top, things) for i in range(len(classes))
    ]


class _Won(NamedTuple):
    """Which candidate [H, W] has the largest score * probability at each pixel (the first of equals), whether
    the pixel is in that candidate's own mask, and the pixels [N] of each candidate's mask."""

    winner: Tensor
    inside: Tensor
    areas: Tensor


def _winners(scores: Tensor, mask_logits: Tensor, frame: Frame) -> _Won:
    """Scores [N] and mask logits [1, N, h, w] of the confident queries."""
    best = torch.zeros(frame.output_size, dtype=torch.float32, device=mask_logits.device)
    won = _Won(best.long(), best.bool(), torch.zeros(0, dtype=torch.int64, device=best.device))
    first, areas = 0, [won.areas]
    for part in slices(mask_logits, lambda logits: full_masks(logits, *frame), *frame[::2]):
        masks = part[0].sigmoid_()
        areas.append((masks >= 0.5).sum((1, 2)))
        weighted = scores[first : first + len(masks), None, None] * masks
        index = weighted.argmax(0, keepdim=True)
        value, own = weighted.gather(0, index)[0], masks.gather(0, index)[0] >= 0.5
        better = value > best if first else torch.ones_like(won.inside)
        best = torch.where(better, value, best)
        won = _Won(
            torch.where(better, index[0] + first, won.winner), torch.where(better, own, won.inside), won.areas
        )
        first += len(masks)
    return won._replace(areas=torch.cat(areas))


def _merge(
    labels: list[int],
    won: _Won,
    things: frozenset[int],
    overlap_threshold: float,
    pixels: Literal["inside", "won"],
) -> Panoptic:
    """The classes of the confident queries and what each has won to one map."""
    ids = torch.zeros_like(won.winner, dtype=torch.int32)
    segments: list[Segment] = []
    if not labels:
        return Panoptic(ids, segments)
    count = len(labels)
    within = torch.bincount(won.winner[won.inside], minlength=count)
    pixel_counts = torch.stack([torch.bincount(won.winner.flatten(), minlength=count), won.areas, within])
    stuff: dict[int, int] = {}
    for query, (label, (won_area, area, kept_area)) in enumerate(
        zip(labels, pixel_counts.T.tolist(), strict=True)
    ):
        kept_area = kept_area if pixels == "inside" else won_area
        if not kept_area or not area or won_area / area < overlap_threshold:
            continue
        kept = won.winner == query
        kept = kept & won.inside if pixels == "inside" else kept
        if label in stuff:
            ids[kept] = stuff[label]
            continue
        segments.append(Segment(len(segments) + 1, label, label in things))
        ids[kept] = segments[-1].id
        if label not in things:
            stuff[label] = segments[-1].id
    return Panoptic(ids, segments)


def _instances(
    classes: Tensor, mask_logits: Tensor, frame: Frame, top: int, things: Collection[int] | None
) -> Instances:
    """Probabilities [Q, K] and mask logits [1, Q, h, w] of one image."""
    scores, index = classes.flatten().topk(min(top, classes.numel()), sorted=False)
    queries, labels = index // classes.shape[1], index % classes.shape[1]
    if things is not None:
        kept = torch.isin(labels, torch.tensor(sorted(things), dtype=labels.dtype, device=labels.device))
        scores, queries, labels = scores[kept], queries[kept], labels[kept]
    masks = [torch.zeros(0, *frame.output_size, dtype=torch.bool, device=scores.device)]
    quality = [scores.new_zeros(0)]
    for part in slices(mask_logits[:, queries], lambda logits: full_masks(logits, *frame), *frame[::2]):
        inside = part[0] > 0
        masks.append(inside)
        quality.append((part[0].sigmoid_() * inside).sum((1, 2)) / (inside.sum((1, 2)) + 1e-6))
    return Instances(torch.cat(masks), labels, scores * torch.cat(quality))
