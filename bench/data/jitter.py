"""The colour augmentation of SSD (Liu et al., ECCV 2016) as detectron2 applies it to uint8 images.

Each step happens with probability 1/2: brightness, an offset in [-32, 32]; contrast, a factor in
[0.5, 1.5]; saturation, a factor in [0.5, 1.5]; hue, a turn of at most 36 degrees (18 of the 180 steps that
OpenCV has). Contrast comes before saturation and hue or after them, with probability 1/2 each. Values are cut
to 0..255 and truncated after each step. One difference: hue is kept in 256 steps (Pillow's HSV) where OpenCV
has 180, and saturation and hue share one conversion, so single values may differ by rounding.
"""

from __future__ import annotations

import torch
from PIL import Image

BRIGHTNESS = 32.0
FACTORS = (0.5, 1.5)
HUE_STEPS = 18
_STEP = 256 / 180  # Pillow's hue steps for one of OpenCV's


def ssd_jitter(image: Image.Image, generator: torch.Generator) -> Image.Image:
    """A new RGB image; which steps are taken and how far follows from the state of `generator`."""
    brightness = _uniform(generator, -BRIGHTNESS, BRIGHTNESS) if _coin(generator) else 0.0
    contrast_first = _coin(generator)
    contrast = _uniform(generator, *FACTORS) if _coin(generator) else 1.0
    saturation = _uniform(generator, *FACTORS) if _coin(generator) else 1.0
    hue = int(torch.randint(-HUE_STEPS, HUE_STEPS + 1, (), generator=generator)) if _coin(generator) else 0
    image = scale_values(image, 1.0, brightness)
    if contrast_first:
        image = scale_values(image, contrast)
    image = shift_hsv(image, saturation, hue)
    return image if contrast_first else scale_values(image, contrast)


def scale_values(image: Image.Image, factor: float, offset: float = 0.0) -> Image.Image:
    """factor * value + offset in every channel, cut to 0..255 and truncated."""
    if factor == 1.0 and offset == 0.0:
        return image
    return image.point(_table(factor, offset) * len(image.getbands()))


def shift_hsv(image: Image.Image, saturation: float, hue: int) -> Image.Image:
    """Saturation times a factor; hue turned by `hue` steps of 2 degrees."""
    if saturation == 1.0 and hue == 0:
        return image
    h, s, v = image.convert("HSV").split()
    if saturation != 1.0:
        s = s.point(_table(saturation, 0.0))
    if hue != 0:
        turn = round(hue * _STEP)
        h = h.point([(value + turn) % 256 for value in range(256)])
    return Image.merge("HSV", (h, s, v)).convert("RGB")


def _table(factor: float, offset: float) -> list[int]:
    return [int(min(max(value * factor + offset, 0.0), 255.0)) for value in range(256)]


def _coin(generator: torch.Generator) -> bool:
    return bool(torch.randint(2, (), generator=generator))


def _uniform(generator: torch.Generator, low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator, dtype=torch.float64))
