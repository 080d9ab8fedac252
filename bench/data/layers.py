"""A sample while it is augmented: picture, label maps and masks are resized, cropped and padded as one."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import pad

from bench.data.base import IGNORE, Sample
from bench.data.resize import from_pil, resize_image, resize_labels, to_pil

_FILLS = (IGNORE, 0)
"""What padding holds in the label maps: no class, no object."""


@dataclass(frozen=True)
class Layers:
    """An RGB image; the classes, perhaps with the numbers of the instances; masks bool [N,H,W] of objects
    that may overlap, or None."""

    image: Image.Image
    maps: tuple[Image.Image, ...]
    masks: Tensor | None = None

    @classmethod
    def of(cls, sample: Sample) -> Layers:
        maps = [sample.semantic] if sample.instances is None else [sample.semantic, sample.instances]
        masks = None if sample.objects is None else sample.objects.masks
        return cls(to_pil(sample.image), tuple(to_pil(values) for values in maps), masks)

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return self.image.height, self.image.width

    def resize(self, size: tuple[int, int]) -> Layers:
        """To (h, w): the image bilinear, all labels nearest."""
        if size == self.size:
            return self
        maps = tuple(resize_labels(values, size) for values in self.maps)
        return Layers(resize_image(self.image, size), maps, _resize_masks(self.masks, size))

    def crop(self, top: int, left: int, height: int, width: int) -> Layers:
        """The rectangle, which lies within."""
        box = (left, top, left + width, top + height)
        rows, columns = slice(top, top + height), slice(left, left + width)
        return Layers(
            self.image.crop(box),
            tuple(values.crop(box) for values in self.maps),
            None if self.masks is None else self.masks[:, rows, columns],
        )

    def mirror(self) -> Layers:
        """Left and right exchanged."""
        return Layers(
            self.image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
            tuple(values.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for values in self.maps),
            None if self.masks is None else self.masks.flip(-1),
        )

    def pad(self, size: tuple[int, int], grey: int) -> Layers:
        """Right and below up to (h, w) where it is smaller: the image with a grey level, the labels with
        none."""
        height, width = (max(side, least) for side, least in zip(self.size, size, strict=True))
        if (height, width) == self.size:
            return self
        padding = (0, width - self.size[1], 0, height - self.size[0])
        maps = zip(self.maps, _FILLS, strict=False)
        return Layers(
            _padded(self.image, (height, width), (grey,) * 3),
            tuple(_padded(values, (height, width), fill) for values, fill in maps),
            None if self.masks is None else pad(self.masks, padding),
        )

    def sample(self, origin: Sample) -> Sample:
        """`origin` with these layers; objects keep their order, also those that lost all of their pixels."""
        semantic, *rest = map(from_pil, self.maps)
        objects = origin.objects
        if objects is not None and self.masks is not objects.masks:
            objects = replace(objects, masks=self.masks, areas=None)
        return replace(
            origin, image=from_pil(self.image), semantic=semantic, instances=rest[0] if rest else None,
            objects=objects,
        )  # fmt: skip


def _padded(image: Image.Image, size: tuple[int, int], fill: int | tuple[int, ...]) -> Image.Image:
    canvas = Image.new(image.mode, size[::-1], fill)
    canvas.paste(image)
    return canvas


def _resize_masks(masks: Tensor | None, size: tuple[int, int]) -> Tensor | None:
    """The pixels that Pillow takes for a label map of that size, for all masks at once."""
    if masks is None:
        return None
    rows, columns = (_nearest(of, side) for of, side in zip(masks.shape[1:], size, strict=True))
    return masks[:, rows][:, :, columns]


def _nearest(length: int, new: int) -> Tensor:
    """Which of `length` pixels each of `new` is, int64 [new]."""
    ramp = to_pil(torch.arange(length, dtype=torch.int32)[None])
    return from_pil(resize_labels(ramp, (1, new)))[0].long()
