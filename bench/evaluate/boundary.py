"""The band along a mask's contour, which is all that boundary metrics look at.

Boundary IoU (Cheng et al. 2021, "Boundary IoU: Improving Object-Centric Image Segmentation Evaluation",
section 4) is the IoU of the pixels of two masks that lie within a distance d of their contours. As in the
authors' evaluation a pixel is in the band if a square of side 2d + 1 around it leaves the mask or the image.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage

DILATION_RATIO = 0.02
"""d as a share of the image's diagonal on COCO, LVIS and ADE20K; the authors take 0.005 on Cityscapes."""


def band_width(size: tuple[int, int], ratio: float = DILATION_RATIO) -> int:
    """d in pixels, at least 1, for an image of `size` (H, W)."""
    return max(1, round(ratio * math.hypot(*size)))


def mask_band(mask: np.ndarray, width: int) -> np.ndarray:
    """The pixels [H, W] of a mask [H, W] (bool) within `width` of its contour."""
    band = np.zeros_like(mask)
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not rows.size:
        return band
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    inner = mask[box].astype(np.uint8)  # beyond the box there is no mask, as beyond the image
    for axis in range(2):
        inner = ndimage.minimum_filter1d(inner, 2 * width + 1, axis, mode="constant", cval=0)
    band[box] = mask[box] & (inner == 0)
    return band


def map_band(ids: np.ndarray, width: int) -> np.ndarray:
    """The pixels [H, W] (bool) of a map of segment ids [H, W] within `width` of another segment or of the
    border: the bands of all its segments at once."""
    _, places = np.unique(ids, return_inverse=True)
    places = places.reshape(ids.shape).astype(np.int32)
    lowest = highest = places
    for axis in range(2):
        lowest = ndimage.minimum_filter1d(lowest, 2 * width + 1, axis, mode="constant", cval=-1)
        highest = ndimage.maximum_filter1d(highest, 2 * width + 1, axis, mode="constant", cval=-1)
    return (lowest != places) | (highest != places)
