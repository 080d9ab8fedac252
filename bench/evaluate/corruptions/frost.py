"""Frost: a picture of ice over the picture. ImageNet-C has photographs, which cannot be shipped here."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from bench.errors import UserError
from bench.evaluate.corruptions.weather import plasma

Array = np.ndarray
GENERATED = "generated ice stands in for ImageNet-C's photographs"
_SUFFIXES = (".png", ".jpg", ".jpeg")


def frost(
    picture: Array, rng: np.random.Generator, kept: float, added: float, photographs: Path | None
) -> Array:
    """`kept` times the picture, float [H, W, 3] in [0, 1], and `added` times the ice.

    `photographs`: a folder of pictures of ice, of which a random part of a random one is taken; None: that of
    `ice`, whose results must not be compared with those of photographs.
    """
    height, width = picture.shape[:2]
    if photographs is None:
        return kept * picture + added * ice(rng, height, width)
    files = frost_files(photographs)
    ground = _read(files[rng.integers(len(files))])
    scale = 1.1 * max(1.0, height / ground.height, width / ground.width)
    size = math.ceil(ground.width * scale), math.ceil(ground.height * scale)
    whole = np.asarray(ground.resize(size, Image.Resampling.BICUBIC)) / 255.0
    top, left = rng.integers(whole.shape[0] - height), rng.integers(whole.shape[1] - width)
    return kept * picture + added * whole[top : top + height, left : left + width]


def frost_files(folder: Path) -> list[Path]:
    """The photographs in a folder, by name. Raises UserError where there is none."""
    found = sorted(path for path in folder.glob("*") if path.suffix.lower() in _SUFFIXES)
    if not found:
        raise UserError(f"{folder}: no photographs of frost (files {', '.join(_SUFFIXES)})")
    return found


def ice(rng: np.random.Generator, height: int, width: int) -> Array:
    """A generated texture [height, width, 3]: a pale blue film, and on it crystals, the ridges of two
    fractals."""
    size = max(height, width)
    fractals = (plasma(rng, size, decay)[:height, :width] for decay in (1.6, 1.5, 1.9))
    one, other, film = fractals
    ridges = np.maximum(1 - 9 * np.abs(one - np.median(one)), 1 - 9 * np.abs(other - np.median(other)))
    grain = rng.normal(0, 0.08, (height, width))
    light = np.clip(0.15 + 0.45 * film + 0.7 * np.clip(ridges, 0, 1) * (0.5 + film) + grain, 0, 1)
    return light[..., None] * np.array([0.86, 0.94, 1.0])


@cache
def _read(path: Path) -> Image.Image:
    try:
        return Image.open(path).convert("RGB")
    except OSError as error:
        raise UserError(f"{path}: not a picture ({error})") from error
