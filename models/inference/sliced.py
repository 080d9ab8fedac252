"""Masks at the size of the result, a slice of the queries at a time: a bound on the memory of inference.

200 masks of 1024 x 2048 pixels are 1.7 GB, and their resizing and their sigmoid as much again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from torch import Tensor

from models.inference.base import Size

CHUNK = 1 << 24
"""Elements of a slice of float masks (64 MiB)."""

HELD = 1 << 28
"""Elements up to which masks that are needed again and again are held (1 GiB)."""

Full = Callable[[Tensor], Tensor]
"""Brings mask logits [B, n, h, w] to the size of the result."""


def slices(mask_logits: Tensor, full: Full, *sizes: Size) -> Iterator[Tensor]:
    """full(mask_logits[:, first:last]) for slices of the queries in order.

    Args:
        mask_logits: [B, Q, h, w].
        full: gives [B, n, H, W].
        sizes: that the masks have on the way; the largest counts.
    """
    step = max(1, CHUNK // _elements(mask_logits, sizes))
    for part in mask_logits.split(step, 1) if mask_logits.shape[1] else ():
        yield full(part)


def held(mask_logits: Tensor, full: Full, *sizes: Size) -> Tensor | None:
    """full(mask_logits), or None where that would be too much."""
    if mask_logits.shape[1] * _elements(mask_logits, sizes) > HELD:
        return None
    return full(mask_logits)


def _elements(mask_logits: Tensor, sizes: tuple[Size, ...]) -> int:
    """Of the largest map that one query has in a batch."""
    return len(mask_logits) * max(height * width for height, width in sizes)
