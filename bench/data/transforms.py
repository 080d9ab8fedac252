"""From a sample to what a model is trained on: augmentation and normalisation."""

from __future__ import annotations

from dataclasses import dataclass, replace
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
from models.spec import Spec, SpecError

__all__ = [
    "IMAGE_MEAN", "IMAGE_STD", "AugmentSpec", "TrainTransform", "ade20k_augment", "cityscapes_augment",
    "multiscale_sizes", "normalise", "scaled_augment", "shortest_edge", "test_resize",
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

    def __call__(self, sample: Sample, generator: torch.Generator) -> Sample:
        """The sample, augmented: h, w = crop where the image is larger or padded. Padding has no class and
        no object."""
        image = to_pil(sample.image)
        maps = [sample.semantic] if sample.instances is None else [sample.semantic, sample.instances]
        image, labels = self._resize(image, [to_pil(values) for values in maps], generator)
        image, labels = self._crop(image, labels, generator)
        if self.spec.jitter:
            image = ssd_jitter(image, generator)
        tensors = [from_pil(image), *map(from_pil, labels)]
        if self.spec.flip and float(torch.rand((), generator=generator)) < self.spec.flip:
            tensors = [values.flip(-1) for values in tensors]
        pixels, semantic, *rest = self._pad(tensors)
        return replace(sample, image=pixels, semantic=semantic, instances=rest[0] if rest else None)

    def _resize(
        self, image: Image.Image, labels: list[Image.Image], generator: torch.Generator
    ) -> tuple[Image.Image, list[Image.Image]]:
        if not self.spec.short_sides:
            return image, labels
        short = self.spec.short_sides[_below(generator, len(self.spec.short_sides))]
        size = shortest_edge(image.height, image.width, short, self.spec.long_max)
        return resize_image(image, size), [resize_labels(values, size) for values in labels]

    def _crop(
        self, image: Image.Image, labels: list[Image.Image], generator: torch.Generator
    ) -> tuple[Image.Image, list[Image.Image]]:
        if self.spec.crop is None:
            return image, labels
        height, width = min(self.spec.crop[0], image.height), min(self.spec.crop[1], image.width)
        top = _below(generator, image.height - height + 1)
        left = _below(generator, image.width - width + 1)
        box = (left, top, left + width, top + height)
        return image.crop(box), [values.crop(box) for values in labels]

    def _pad(self, tensors: list[Tensor]) -> list[Tensor]:
        """Image, semantic labels and perhaps instances, padded."""
        if not self.spec.pad or self.spec.crop is None:
            return tensors
        right = max(self.spec.crop[1] - tensors[0].shape[-1], 0)
        below = max(self.spec.crop[0] - tensors[0].shape[-2], 0)
        fills = (self.spec.pad_value, IGNORE, 0)
        return [pad(values, (0, right, 0, below), value=v) for values, v in zip(tensors, fills, strict=False)]


def normalise(image: Tensor) -> Tensor:
    """RGB 0..255 [...,3,H,W] of any type -> float32 of the same shape, (x - mean) / std."""
    mean = torch.tensor(IMAGE_MEAN, device=image.device)[:, None, None]
    std = torch.tensor(IMAGE_STD, device=image.device)[:, None, None]
    return (image.float() - mean) / std


def _below(generator: torch.Generator, n: int) -> int:
    return int(torch.randint(n, (), generator=generator))
