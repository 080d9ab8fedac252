"""Resizing as the reference code does it: Pillow's bilinear filter on uint8 images, nearest for labels."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bench.data.base import Sample


def to_pil(array: Tensor) -> Image.Image:
    """uint8 [3,H,W] -> RGB image; uint8 [H,W] -> grey image; int32 [H,W] -> image of numbers."""
    if array.dtype != torch.uint8 and not (array.dtype == torch.int32 and array.ndim == 2):
        raise TypeError(f"expected uint8, or int32 [H,W], got {array.dtype}")
    return Image.fromarray(array.permute(1, 2, 0).contiguous().numpy() if array.ndim == 3 else array.numpy())


def from_pil(image: Image.Image) -> Tensor:
    """RGB image -> uint8 [3,H,W]; grey or palette image -> uint8 [H,W] of its indices; numbers -> int32."""
    array = torch.from_numpy(np.array(image))
    return array.permute(2, 0, 1).contiguous() if array.ndim == 3 else array


def shortest_edge(height: int, width: int, short: int, long_max: int) -> tuple[int, int]:
    """(h, w) with the shorter side `short`, or less where the longer side would exceed `long_max`; rounded as
    detectron2's ResizeShortestEdge does (int(x + 0.5))."""
    scale = short / min(height, width)
    h, w = (float(short), scale * width) if height < width else (scale * height, float(short))
    if max(h, w) > long_max:
        shrink = long_max / max(h, w)
        h, w = h * shrink, w * shrink
    return int(h + 0.5), int(w + 0.5)


def resize_image(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """RGB or grey image to size (h, w), bilinear (antialiased when it shrinks)."""
    h, w = size
    return image if image.size == (w, h) else image.resize((w, h), Image.Resampling.BILINEAR)


def resize_labels(labels: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Label map to size (h, w), nearest neighbour: no new labels appear."""
    h, w = size
    return labels if labels.size == (w, h) else labels.resize((w, h), Image.Resampling.NEAREST)


def test_resize(image: Tensor | Sample, short: int, long_max: int) -> Tensor:
    """uint8 [3,H,W] -> uint8 [3,h,w] for evaluation: `shortest_edge`, bilinear.

    Mask2Former and FASeg (released configs): 512 and 2048 on ADE20K (640 and 2560 for Swin-B/L), 1024 and
    2048 on Cityscapes.
    """
    pixels = image.image if isinstance(image, Sample) else image
    return from_pil(resize_image(to_pil(pixels), shortest_edge(*pixels.shape[-2:], short, long_max)))


test_resize.__test__ = False  # not a test, whatever pytest makes of the name


def multiscale_sizes(
    short: int, factors: tuple[float, ...] = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
) -> tuple[int, ...]:
    """Short sides of multi-scale testing; each is evaluated as it is and flipped (released configs: 256..896
    for 512, with the long side limited to 3584)."""
    return tuple(int(factor * short) for factor in factors)
