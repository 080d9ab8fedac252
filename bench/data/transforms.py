"""From a sample to what a model is trained on: augmentation and normalisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from bench.data.base import Sample
from bench.data.layers import Layers
from bench.data.resize import multiscale_sizes, shortest_edge, test_resize
from bench.data.steps import (
    Crop,
    CropBetween,
    DiagonalCrop,
    Jitter,
    Mirror,
    OneOf,
    Pad,
    ScaleWithin,
    ShortSide,
    Step,
)
from models.spec import Spec, SpecError

__all__ = [
    "IMAGE_MEAN", "IMAGE_STD", "AugmentSpec", "AugmentationSpec", "LargeScaleJitterSpec", "ResizeOrCropSpec",
    "TrainTransform", "ade20k_augment", "cityscapes_augment", "multiscale_sizes", "normalise",
    "scaled_augment", "shortest_edge", "test_resize",
]  # fmt: skip

IMAGE_MEAN = (123.675, 116.28, 103.53)
IMAGE_STD = (58.395, 57.12, 57.375)
"""RGB, 0..255: ImageNet statistics, as in the released configs of every system here."""
_UNLIMITED = 1_000_000


class AugmentationSpec(Spec):
    """What happens to a training image; a run takes any of the kinds below."""

    def steps(self) -> list[Step]:
        """In order."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class AugmentSpec(AugmentationSpec):
    """Resize, crop, colours, flip, pad, in this order.

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
    long_max: int = _UNLIMITED
    crop: tuple[int, int] | None = None
    jitter: bool = False
    flip: float = 0.0
    pad: bool = False
    pad_value: int = 128

    def __post_init__(self) -> None:
        if any(side < 1 for side in (*self.short_sides, *(self.crop or ()), self.long_max)):
            raise SpecError("short_sides, crop and long_max must be at least 1 pixel")
        if self.pad and self.crop is None:
            raise SpecError("pad = True needs a crop to pad to")
        _check(self.flip, self.pad_value)

    def steps(self) -> list[Step]:
        steps: list[Step] = []
        if self.short_sides:
            steps.append(ShortSide(self.short_sides, self.long_max))
        if self.crop is not None:
            steps.append(Crop(self.crop))
        if self.jitter:
            steps.append(Jitter())
        if self.flip:
            steps.append(Mirror(self.flip))
        if self.pad and self.crop is not None:
            steps.append(Pad(self.crop, self.pad_value))
        return steps


@dataclass(frozen=True, kw_only=True)
class LargeScaleJitterSpec(AugmentationSpec):
    """Large-scale jittering (Ghiasi et al., CVPR 2021) as Mask2Former trains on COCO: flip; scale so that the
    image fits in `crop` times a number from `low` to `high`; crop; pad.

    Released config: 0.1 to 2.0 times 1024 x 1024. Both corners of the crop move with one random number, as
    in the released code (detectron2's FixedSizeCrop).

    Attributes:
        crop: (height, width) that every image ends up with.
        low, high: least and largest scale, uniformly distributed.
        flip: probability of a horizontal flip.
        pad_value: grey level of what is padded right and below.
    """

    part: ClassVar[str] = "large_scale_jitter"
    crop: tuple[int, int] = (1024, 1024)
    low: float = 0.1
    high: float = 2.0
    flip: float = 0.5
    pad_value: int = 128

    def __post_init__(self) -> None:
        if min(self.crop) < 1 or not 0 < self.low <= self.high:
            raise SpecError("crop must be at least 1 pixel, and 0 < low <= high")
        _check(self.flip, self.pad_value)

    def steps(self) -> list[Step]:
        return [
            Mirror(self.flip), ScaleWithin(self.crop, self.low, self.high), DiagonalCrop(self.crop),
            Pad(self.crop, self.pad_value),
        ]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ResizeOrCropSpec(AugmentationSpec):
    """DETR's on COCO, and that of MaskFormer, Deformable DETR and Panoptic SegFormer: flip; then either
    resize, or resize to one of `first_sides`, crop, and resize, as likely.

    Sizes are rounded as detectron2 does it (DETR's own code cuts off), a pixel at most.

    Attributes:
        short_sides, long_max: of the last resize, as in `AugmentSpec`.
        first_sides: short sides before the crop; the longer one is not limited.
        crop_range: least and largest height and width of the crop, as far as the image goes.
        flip: probability of a horizontal flip.
    """

    part: ClassVar[str] = "resize_or_crop"
    short_sides: tuple[int, ...] = tuple(range(480, 801, 32))
    long_max: int = 1333
    first_sides: tuple[int, ...] = (400, 500, 600)
    crop_range: tuple[int, int] = (384, 600)
    flip: float = 0.5

    def __post_init__(self) -> None:
        if not self.short_sides or not self.first_sides:
            raise SpecError("short_sides and first_sides must not be empty")
        if min(*self.short_sides, *self.first_sides, self.long_max, self.crop_range[0]) < 1:
            raise SpecError("short_sides, long_max, first_sides and crop_range must be at least 1 pixel")
        if self.crop_range[0] > self.crop_range[1]:
            raise SpecError(f"crop_range is (least, largest), not {self.crop_range}")
        _check(self.flip)

    def steps(self) -> list[Step]:
        resize = ShortSide(self.short_sides, self.long_max)
        cropped = (ShortSide(self.first_sides, _UNLIMITED), CropBetween(*self.crop_range), resize)
        return [Mirror(self.flip), OneOf(((resize,), cropped))]


def _check(flip: float, pad_value: int = 0) -> None:
    if not 0 <= flip <= 1:
        raise SpecError(f"flip is a probability, not {flip}")
    if not 0 <= pad_value <= 255:
        raise SpecError(f"pad_value is a grey level from 0 to 255, not {pad_value}")


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
    """Applies an augmentation. The same generator state gives the same result."""

    def __init__(self, spec: AugmentationSpec) -> None:
        self.spec = spec
        self._steps = spec.steps()

    def __call__(self, sample: Sample, generator: torch.Generator) -> Sample:
        """The sample, augmented. Padding has no class and no object; objects that lost all of their pixels
        stay in `objects`, with an empty mask."""
        layers = Layers.of(sample)
        for step in self._steps:
            layers = step(layers, generator)
        return layers.sample(sample)


def normalise(image: Tensor) -> Tensor:
    """RGB 0..255 [...,3,H,W] of any type -> float32 of the same shape, (x - mean) / std."""
    mean = torch.tensor(IMAGE_MEAN, device=image.device)[:, None, None]
    std = torch.tensor(IMAGE_STD, device=image.device)[:, None, None]
    return (image.float() - mean) / std
