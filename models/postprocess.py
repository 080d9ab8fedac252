"""From predictions to semantic, panoptic and instance results.

Mask2Former's released inference, after MaskFormer (section 3.4).

Sizes are (height, width). An image of `image_size` is padded at the right and the bottom to `padded_size`, on
which the model runs; results have `output_size`, usually that of the file before any resizing.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from models.outputs import SegmentationOutput

Size = tuple[int, int]


@dataclass(frozen=True)
class Segment:
    """One segment of a panoptic map: its id there (from 1), its class, and whether that is a thing."""

    id: int
    label: int
    is_thing: bool


@dataclass(frozen=True)
class Panoptic:
    """A panoptic map [H, W] int32 (0: nothing) and its segments in the order of their ids."""

    ids: Tensor
    segments: list[Segment]


@dataclass(frozen=True)
class Instances:
    """Masks [N, H, W] bool, labels [N] int64 and scores [N] in [0, 1], in no particular order."""

    masks: Tensor
    labels: Tensor
    scores: Tensor


def pad_to_multiple(images: Tensor, multiple: int = 32) -> Tensor:
    """Zeros (the mean colour, after normalisation) right of and below [..., H, W] up to multiples."""
    height, width = images.shape[-2:]
    return F.pad(images, (0, -width % multiple, 0, -height % multiple))


def resize(maps: Tensor, size: Size) -> Tensor:
    """Bilinear resize of [B, C, h, w], corners not aligned."""
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)


def crop_and_resize(maps: Tensor, image_size: Size, output_size: Size) -> Tensor:
    """Maps [B, C, H, W] at the padded size, without the padding, at `output_size`."""
    return resize(maps[..., : image_size[0], : image_size[1]], output_size)


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


def panoptic_inference(
    output: SegmentationOutput,
    padded_size: Size,
    image_size: Size,
    output_size: Size,
    things: Collection[int],
    object_threshold: float = 0.8,
    overlap_threshold: float = 0.8,
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
    """
    masks = full_masks(output.mask_logits, padded_size, image_size, output_size).sigmoid()
    scores, labels = output.class_logits.softmax(-1).max(-1)
    keep = (labels != output.class_logits.shape[-1] - 1) & (scores > object_threshold)
    return [
        _merge(scores[i, kept], labels[i, kept], masks[i, kept], frozenset(things), overlap_threshold)
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
    scores: Tensor, labels: Tensor, masks: Tensor, things: frozenset[int], overlap_threshold: float
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
        kept = won & inside
        won_area, area, kept_area = torch.stack([won.sum(), inside.sum(), kept.sum()]).tolist()
        if not kept_area or won_area / area < overlap_threshold:
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
