"""Which pixels of a padded batch are image: some models count rows and columns of the image alone (DETR)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def padding_mask(sizes: Sequence[tuple[int, int]], padded: Tensor) -> Tensor:
    """[B, H, W] bool, True right of and below each image.

    Args:
        sizes: (height, width) of each image without its padding.
        padded: the images [B, C, H, W].

    Raises:
        ValueError: another number of sizes than images, or a size that is not within the batch's.
    """
    batch, _, height, width = padded.shape
    if len(sizes) != batch or any(not (0 < h <= height and 0 < w <= width) for h, w in sizes):
        raise ValueError(f"sizes {list(sizes)} do not fit {batch} images padded to {height} x {width}")
    limits = torch.tensor([(h, w) for h, w in sizes], device=padded.device)[:, :, None, None]
    rows = torch.arange(height, device=padded.device)[:, None] >= limits[:, 0]
    columns = torch.arange(width, device=padded.device) >= limits[:, 1]
    return rows | columns


def shrink(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """The mask [B, H, W] at the pixels of a feature map (height, width), [B, h, w], sampled as in DETR."""
    return F.interpolate(mask[:, None].float(), size=size, mode="nearest")[:, 0].bool()
