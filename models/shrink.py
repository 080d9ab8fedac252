"""Bilinear downsampling by whole factors."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from ops.eager import is_traced


def shrink(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear resize of [B, C, H, W] to [B, C, *size], corners not aligned.

    By a whole even factor f, a result lies in the middle between four pixels, f / 2 - 1 and f / 2 of each
    cell, and is their mean. On the CPU that is taken directly: F.interpolate reads and rearranges all pixels,
    which takes 15 to 50 times as long (a tenth of the decoder's time: a mask is predicted after every block).
    """
    height, width = maps.shape[-2:]
    factor = height // size[0] if size[0] else 0
    whole = factor and factor % 2 == 0 and (height, width) == (factor * size[0], factor * size[1])
    if not whole or is_traced() or maps.device.type != "cpu":
        return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)
    rows = maps[..., factor // 2 - 1 :: factor, :] + maps[..., factor // 2 :: factor, :]
    return (rows[..., factor // 2 - 1 :: factor] + rows[..., factor // 2 :: factor]) * 0.25
