"""From a sample to what a model is trained on: augmentation, normalisation, mask targets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import pad

from bench.data.base import IGNORE, Sample
from bench.data.jitter import ssd_jitter
from bench.data.resize import (
    from_pil,
    multiscale_sizes,
    resize_image,
    resize_labels,
    shortest_edge,
    test_resize,
    to_pil,
)
from models.outputs import MaskTarget
from models.spec import Spec, SpecError

__all__ = [
    "IMAGE_MEAN", "IMAGE_STD", "AugmentSpec", "TrainTransform", "ade20k_augment", "cityscapes_augment",
    "multiscale_sizes", "normalise", "scaled_augment", "semantic_targets", "shortest_edge", "test_resize",
]  # fmt: skip

IMAGE_MEAN = (123.675, 116.28, 103.53)
IMAGE_STD = (58.395, 57.12, 57.375)
"""RGB, 0..255: ImageNet statistics, as in the released configs of every system here."""


@dataclass(frozen=True, kw_only=True)
class AugmentSpec(Spec):
    """What happens to a training image, in this order.

    Attributes:
        short_sides: the shorter side becomes one of these, chosen at random; () leaves the image as it is.
        long_max: limit of the longer side after that, in pixels.
        crop: (height, width) of a crop at a random place; a smaller image stays whole; None: no crop. One
            class may fill all of it (SINGLE_CATEGORY_MAX_AREA = 1.0 in the released configs).
        jitter: colour augmentation of SSD.
        flip: probability of a horizontal flip.
        pad: pad right and below up to `crop`, the image with `pad_value`, the labels with 255.
    """

    part: ClassVar[str] = "augment"
    short_sides: tuple[int, ...] = ()
    long_max: int = 1_000_000
    crop: tuple[int, int] | None = None
    jitter: bool = False
    flip: float = 0.0
    pad: bool = False
    pad_value: int = 128

    def __post_init__(self) -> None:
        if any(side < 1 for side in (*self.short_sides, *(self.crop or ()), self.long_max)):
            raise SpecError("short_sides, crop and long_max must be at least 1 pixel")
        if not 0 <= self.flip <= 1:
            raise SpecError(f"flip is a probability, not {self.flip}")
        if self.pad and self.crop is None:
            raise SpecError("pad = True needs a crop to pad to")
        if not 0 <= self.pad_value <= 255:
            raise SpecError(f"pad_value is a grey level from 0 to 255, not {self.pad_value}")


def scaled_augment(
    short: int, crop: tuple[int, int], *, jitter: bool = True, pad: bool = True, low: int = 5, high: int = 20
) -> AugmentSpec:
    """The papers' scheme around a short side of `short` pixels: scales k/10 for k = low..high, long side at
    most 4 * short (Mask2Former and FASeg, released configs: low = 5, high = 20)."""
    sides = tuple(int(0.1 * k * short) for k in range(low, high + 1))
    return AugmentSpec(short_sides=sides, long_max=4 * short, crop=crop, jitter=jitter, flip=0.5, pad=pad)


def ade20k_augment(size: int = 512) -> AugmentSpec:
    """ADE20K training of Mask2Former and FASeg: 512, or 640 with Swin-B and Swin-L."""
    return scaled_augment(size, (size, size))


def cityscapes_augment() -> AugmentSpec:
    """Cityscapes training: short side around 1024, crop 512 x 1024 (h, w), which is never padded."""
    return scaled_augment(1024, (512, 1024), pad=False)


class TrainTransform:
    """Applies an `AugmentSpec`. The same generator state gives the same result."""

    def __init__(self, spec: AugmentSpec) -> None:
        self.spec = spec

    def __call__(self, sample: Sample, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """(image uint8 [3,h,w], semantic uint8 [h,w]); h, w = crop where the image is larger or padded."""
        image, labels = self._resize(to_pil(sample.image), to_pil(sample.semantic), generator)
        image, labels = self._crop(image, labels, generator)
        if self.spec.jitter:
            image = ssd_jitter(image, generator)
        pixels, semantic = from_pil(image), from_pil(labels)
        if self.spec.flip and float(torch.rand((), generator=generator)) < self.spec.flip:
            pixels, semantic = pixels.flip(-1), semantic.flip(-1)
        return self._pad(pixels, semantic)

    def _resize(
        self, image: Image.Image, labels: Image.Image, generator: torch.Generator
    ) -> tuple[Image.Image, Image.Image]:
        if not self.spec.short_sides:
            return image, labels
        short = self.spec.short_sides[_below(generator, len(self.spec.short_sides))]
        size = shortest_edge(image.height, image.width, short, self.spec.long_max)
        return resize_image(image, size), resize_labels(labels, size)

    def _crop(
        self, image: Image.Image, labels: Image.Image, generator: torch.Generator
    ) -> tuple[Image.Image, Image.Image]:
        if self.spec.crop is None:
            return image, labels
        height, width = min(self.spec.crop[0], image.height), min(self.spec.crop[1], image.width)
        top = _below(generator, image.height - height + 1)
        left = _below(generator, image.width - width + 1)
        box = (left, top, left + width, top + height)
        return image.crop(box), labels.crop(box)

    def _pad(self, pixels: Tensor, semantic: Tensor) -> tuple[Tensor, Tensor]:
        if not self.spec.pad or self.spec.crop is None:
            return pixels, semantic
        right = max(self.spec.crop[1] - pixels.shape[-1], 0)
        below = max(self.spec.crop[0] - pixels.shape[-2], 0)
        padding = (0, right, 0, below)
        return pad(pixels, padding, value=self.spec.pad_value), pad(semantic, padding, value=IGNORE)


def normalise(image: Tensor) -> Tensor:
    """RGB 0..255 [...,3,H,W] of any type -> float32 of the same shape, (x - mean) / std."""
    mean = torch.tensor(IMAGE_MEAN, device=image.device)[:, None, None]
    std = torch.tensor(IMAGE_STD, device=image.device)[:, None, None]
    return (image.float() - mean) / std


def semantic_targets(semantic: Tensor, ignore_index: int = IGNORE) -> MaskTarget:
    """One mask for each class present in semantic [H,W], in order of class id; ignored pixels are in no mask.

    So Mask2Former trains on semantic labels (released code, its semantic dataset mapper).
    """
    counts = torch.bincount(semantic.flatten().long(), minlength=ignore_index + 1)
    counts[ignore_index] = 0
    labels = counts.nonzero().flatten()
    return MaskTarget(labels=labels, masks=semantic == labels.to(semantic.dtype)[:, None, None])


def _below(generator: torch.Generator, n: int) -> int:
    return int(torch.randint(n, (), generator=generator))
