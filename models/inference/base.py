"""From predictions to semantic, panoptic and instance results: what every system's inference takes and gives.

Sizes are (height, width). An image of `image_size` is padded at the right and the bottom to `padded_size`, on
which the model runs; results have `output_size`, usually that of the file before any resizing.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import torch.nn.functional as F
from torch import Tensor

from models.spec import Spec, SpecError

Size = tuple[int, int]
Task = Literal["semantic", "panoptic", "instance"]
Output = Literal["set", "boxes", "per_class", "things_and_stuff"]
"""What a system predicts: K + 1 classes and a mask of each query; with boxes too, of columns that its output
explains (DETR's line); a mask of each class; things and stuff apart (Panoptic SegFormer)."""


class Frame(NamedTuple):
    """The sizes of one image: as the model saw it, without its padding, and of the result."""

    padded_size: Size
    image_size: Size
    output_size: Size


@dataclass(frozen=True)
class Segment:
    """One segment of a panoptic map: its id there (from 1), its class, and whether that is a thing."""

    id: int
    label: int
    is_thing: bool


@dataclass(frozen=True)
class Panoptic:
    """A panoptic map [H, W] int32 (0: nothing) and its segments in the order of their ids."""

    ids: Tensor
    segments: list[Segment]


@dataclass(frozen=True)
class Instances:
    """Masks [N, H, W] bool, labels [N] int64 and scores [N] in [0, 1], in no particular order."""

    masks: Tensor
    labels: Tensor
    scores: Tensor


def pad_to_multiple(images: Tensor, multiple: int = 32) -> Tensor:
    """Zeros (the mean colour, after normalisation) right of and below [..., H, W] up to multiples."""
    height, width = images.shape[-2:]
    return F.pad(images, (0, -width % multiple, 0, -height % multiple))


def resize(maps: Tensor, size: Size) -> Tensor:
    """Bilinear resize of [B, C, h, w], corners not aligned."""
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)


def crop_and_resize(maps: Tensor, image_size: Size, output_size: Size) -> Tensor:
    """Maps [B, C, H, W] at the padded size, without the padding, at `output_size`."""
    return resize(maps[..., : image_size[0], : image_size[1]], output_size)


class Inference:
    """Turns a system's output into results; a system overrides what its `tasks` name.

    Attributes:
        tasks: what it can give.
    """

    tasks: tuple[Task, ...] = ()

    def semantic(self, output: Any, frame: Frame) -> Tensor:
        """Class scores [B, K, *frame.output_size]; their argmax over classes is the semantic map."""
        raise NotImplementedError(f"{type(self).__name__} gives no semantic maps")

    def semantic_map(self, output: Any, frame: Frame) -> Tensor:
        """The class with the highest score at each pixel, int64 [B, *frame.output_size]."""
        return self.semantic(output, frame).argmax(1)

    def panoptic(self, output: Any, frame: Frame, things: Collection[int]) -> list[Panoptic]:
        """A panoptic map for each image; segments of the classes `things` stay apart."""
        raise NotImplementedError(f"{type(self).__name__} gives no panoptic maps")

    def instances(self, output: Any, frame: Frame, things: Collection[int] | None = None) -> list[Instances]:
        """Scored masks for each image, of the classes `things` only where they are given."""
        raise NotImplementedError(f"{type(self).__name__} gives no instances")


@dataclass(frozen=True, kw_only=True)
class InferenceSpec(Spec):
    """Base of the inference parts' specs: a system's spec has one in its field `inference`.

    `reads`: the outputs that it can turn into results.
    """

    part: ClassVar[str] = ""
    reads: ClassVar[tuple[Output, ...]] = ("set", "boxes", "things_and_stuff")

    def build(self) -> Inference:
        """The inference of this spec; it holds no weights."""
        raise NotImplementedError

    def build_for(self, output: Output) -> Inference:
        """The inference of a system with such an output.

        Raises:
            SpecError: it cannot read that.
        """
        if output not in self.reads:
            reads = ", ".join(map(repr, self.reads))
            raise SpecError(f"inference {self.part!r} does not fit {output!r} predictions; it reads {reads}")
        return self.build()
