"""Masks of every layer of a decoder against the same truths (Panoptic SegFormer, section 3.3.3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from models.outputs import MaskTarget


def dice_loss(masks: Tensor, truths: Tensor, eps: float = 1e-6) -> Tensor:
    """1 - 2 sum(p t) / (sum(p^2) + sum(t^2) + 2 eps) of masks [M, H, W] >= 0 that are no logits: [M]."""
    masks, truths = masks.flatten(1), truths.flatten(1)
    overlap = 2 * (masks * truths).sum(1)
    return 1 - overlap / (masks.square().sum(1) + truths.square().sum(1) + 2 * eps)


def mask_losses(layers: Sequence[Tensor], rows: Tensor, truths: Tensor) -> list[Tensor]:
    """The summed dice loss of each layer.

    Args:
        layers: masks [B, n, h, w] of each.
        rows: [M], which of the B * n masks are compared.
        truths: their true masks [M, H, W]; both are brought to 2h x 2w (a quarter of the input).
    """
    height, width = layers[-1].shape[-2:]
    size = (2 * height, 2 * width)
    truths = resize_masks(truths, size)
    return [dice_loss(resize_masks(masks.flatten(0, 1)[rows], size), truths).sum() for masks in layers]


def resize_masks(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """Masks [M, H, W] of any type to float32 [M, *size], bilinear."""
    return F.interpolate(masks.float()[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]


def of_layers(key: str, losses: Sequence[Tensor], weight: float, last_only: bool) -> dict[str, Tensor]:
    """A loss of each layer by name: `key` of the last, "aux0/key", ... of the earlier, whose weight is 0
    (they stay in the graph) if `last_only`."""
    last = len(losses) - 1
    named = {f"aux{i}/{key}": loss * (0.0 if last_only else weight) for i, loss in enumerate(losses[:last])}
    return {**named, key: losses[last] * weight} if losses else {}


def of_classes(target: MaskTarget, first: int, end: int) -> MaskTarget:
    """The segments of the classes first..end-1, numbered from 0."""
    kept = (target.labels >= first) & (target.labels < end)
    boxes = None if target.boxes is None else target.boxes[kept]
    return MaskTarget(target.labels[kept] - first, target.masks[kept], boxes)
