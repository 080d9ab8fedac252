"""The random steps that training images go through; an augmentation is a few of them in order.

A step takes layers and a generator and gives new layers. All chance comes from the generator, and how many
numbers a step draws depends on nothing but what it drew before and the size of the image.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from bench.data.jitter import ssd_jitter
from bench.data.layers import Layers
from bench.data.resize import shortest_edge

Step = Callable[[Layers, torch.Generator], Layers]


@dataclass(frozen=True)
class ShortSide:
    """The shorter side becomes one of `sides`, or less where the longer would pass `long_max`."""

    sides: tuple[int, ...]
    long_max: int

    def __call__(self, layers: Layers, generator: torch.Generator) -> Layers:
        side = self.sides[below(generator, len(self.sides))]
        return layers.resize(shortest_edge(*layers.size, side, self.long_max))


@dataclass(frozen=True)
class ScaleWithin:
    """The largest size of the image's shape that fits in `size` (h, w) times a number from `low` to `high`
    (detectron2's ResizeScale)."""

    size: tuple[int, int]
    low: float
    high: float

    def __call__(self, layers: Layers, generator: torch.Generator) -> Layers:
        factor = self.low + (self.high - self.low) * uniform(generator)
        scale = min(factor * side / of for side, of in zip(self.size, layers.size, strict=True))
        height, width = (max(round(side * scale), 1) for side in layers.size)
        return layers.resize((height, width))


@dataclass(frozen=True)
class Crop:
    """(h, w) pixels at a random place; a smaller image stays whole."""

    size: tuple[int, int]

    def __call__(self, layers: Layers, generator: torch.Generator) -> Layers:
        height, width = (min(side, of) for side, of in zip(self.size, layers.size, strict=True))
        return _crop_anywhere(layers, height, width, generator)


@dataclass(frozen=True)
class DiagonalCrop:
    """(h, w) pixels at a place on the diagonal of all places: one random number moves both corners
    (detectron2's FixedSizeCrop)."""

    size: tuple[int, int]

    def __call__(self, layers: Layers, generator: torch.Generator) -> Layers:
        height, width = (min(side, of) for side, of in zip(self.size, layers.size, strict=True))
        share = uniform(generator)
        top, left = round(share * (layers.size[0] - height)), round(share * (layers.size[1] - width))
        return layers.crop(top, left, height, width)


@dataclass(frozen=True)
class CropBetween:
    """Height and width each from `least` to `most` pixels, as far as the image goes, at a random place."""

    least: int
    most: int

    def __call__(self, layers: Layers, generator: torch.Generator) -> Layers:
        height, width = (self._side(of, generator) for of in layers.size)
        return _crop_anywhere(layers, height, width, generator)

    def _side(self, of: int, generator: torch.Generator) -> int:
        least, most = min(self.least, of), min(self.most, of)
        return least + below(generator, most - least + 1)


@dataclass(frozen=True)
class Jitter:
    """SSD's colours."""

    def __call__(self, layers: Layers, generator: torch.Generator) -> Layers:
        return replace(layers, image=ssd_jitter(layers.image, generator))


@dataclass(frozen=True)
class Mirror:
    """Left and right exchanged with a probability."""

    probability: float

    def __call__(self, layers: Layers, generator: torch.Generator) -> Layers:
        chosen = float(torch.rand((), generator=generator)) < self.probability
        return layers.mirror() if chosen else layers


@dataclass(frozen=True)
class Pad:
    """Right and below up to (h, w), the image with a grey level."""

    size: tuple[int, int]
    grey: int

    def __call__(self, layers: Layers, generator: torch.Generator) -> Layers:
        return layers.pad(self.size, self.grey)


@dataclass(frozen=True)
class OneOf:
    """One of several sequences of steps, each as likely."""

    choices: tuple[tuple[Step, ...], ...]

    def __call__(self, layers: Layers, generator: torch.Generator) -> Layers:
        for step in self.choices[below(generator, len(self.choices))]:
            layers = step(layers, generator)
        return layers


def below(generator: torch.Generator, n: int) -> int:
    """0 .. n - 1."""
    return int(torch.randint(n, (), generator=generator))


def uniform(generator: torch.Generator) -> float:
    """From 0 to 1, without 1."""
    return float(torch.rand((), generator=generator, dtype=torch.float64))


def _crop_anywhere(layers: Layers, height: int, width: int, generator: torch.Generator) -> Layers:
    top = below(generator, layers.size[0] - height + 1)
    left = below(generator, layers.size[1] - width + 1)
    return layers.crop(top, left, height, width)
