"""Brightness, contrast, saturation and JPEG; pictures are float [H, W, 3] in [0, 1].

Hue, saturation and value are those of the HSV cone: value V is the largest of a pixel's three, saturation S
the share of V by which the smallest lies below it; at one hue, V - rgb is proportional to V S.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

Array = np.ndarray


def brightness(picture: Array, rng: np.random.Generator, added: float) -> Array:
    """`added` to V, at the same hue and saturation."""
    value = picture.max(-1, keepdims=True)
    brighter = np.minimum(value + added, 1)
    return np.where(value > 0, picture * brighter / np.where(value > 0, value, 1), brighter)


def contrast(picture: Array, rng: np.random.Generator, factor: float) -> Array:
    """The distance of each value to its channel's mean, times `factor`."""
    mean = picture.mean((0, 1), keepdims=True)
    return (picture - mean) * factor + mean


def saturate(picture: Array, rng: np.random.Generator, factor: float, added: float) -> Array:
    """S times `factor` and `added`, at the same hue and V; grey counts as red, as hue 0 is."""
    value = picture.max(-1, keepdims=True)
    below = value - picture
    spread = below.max(-1, keepdims=True)  # V S
    saturation = np.divide(spread, value, out=np.zeros_like(value), where=value > 0)
    wanted = np.clip(saturation * factor + added, 0, 1) * value
    red = np.broadcast_to(np.array([0.0, 1.0, 1.0]), picture.shape)
    shares = np.where(spread > 0, below / np.where(spread > 0, spread, 1), red)
    return value - wanted * shares


def jpeg(picture: Array, rng: np.random.Generator, quality: int) -> Array:
    """Through a JPEG file of this quality (of 100)."""
    file = io.BytesIO()
    Image.fromarray(np.round(picture * 255).astype(np.uint8)).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file)) / 255.0
