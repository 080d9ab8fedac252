"""The embedded dataset: generated landscapes with geometric things, exact masks, nothing to download.

Sample i of a split is a function of (seed, split, i, size) alone, the same on every platform. Regions (sky,
foliage, wall, ground, water, path) follow a horizon; things (disk, ring, square, triangle, star, post) stand
on the ground, larger when nearer, or hang in the sky, occlude each other and go down to a few pixels. Colours
are shared between classes, so shape, texture and position are needed to tell them apart.
"""

from __future__ import annotations

import hashlib

import torch

from bench.data import scene
from bench.data.base import DatasetInfo, Sample, SegmentationDataset
from bench.data.randomness import Stream
from bench.errors import UserError, nearest

TASKS = ("semantic", "panoptic", "instance")
GENERATOR_VERSION = 1
"""Part of the checksum; raised whenever any pixel of any sample changes."""

INFO = DatasetInfo(
    name="embedded",
    classes=(
        "sky", "foliage", "wall", "ground", "water", "path",
        "disk", "ring", "square", "triangle", "star", "post",
    ),
    colors=(
        (70, 130, 180), (107, 142, 35), (102, 102, 156), (152, 251, 152), (0, 80, 200), (128, 64, 128),
        (220, 20, 60), (255, 140, 0), (250, 220, 30), (190, 0, 190), (0, 200, 200), (245, 245, 245),
    ),
    things=frozenset(scene.THINGS),
)  # fmt: skip

_LENGTHS = {"train": 2000, "val": 200, "test": 200}
_SPLIT_KEYS = {"train": 1, "val": 2, "test": 3}


class Embedded(SegmentationDataset):
    """One split of the embedded dataset.

    size: int or (H, W) in pixels, each >= 64 (default 192); length: number of samples (defaults 2000/200/200
    for train/val/test; any number, the first ones stay the same); seed: another seed is another dataset.
    Errors: UserError for an unknown split, a size below 64, a length below 1.
    """

    info = INFO

    def __init__(
        self,
        split: str = "train",
        size: int | tuple[int, int] = 192,
        length: int | None = None,
        seed: int = 0,
    ) -> None:
        if split not in _SPLIT_KEYS:
            raise UserError(f"the embedded dataset has no split '{split}'{nearest(split, _SPLIT_KEYS)}")
        height, width = (size, size) if isinstance(size, int) else size
        if min(height, width) < 64:
            raise UserError(f"embedded: size {height}x{width} is too small (at least 64x64)")
        self.split, self.size, self.seed = split, (height, width), seed
        self.length = _LENGTHS[split] if length is None else length
        if self.length < 1:
            raise UserError(f"embedded: length {self.length} leaves no sample (at least 1)")

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < self.length:
            raise IndexError(f"sample {index} of {self.length}")
        stream = Stream(self.seed, (_SPLIT_KEYS[self.split] << 48) + index)
        canvas = scene.paint_scene(*self.size, stream)
        image = scene.finish(canvas, stream)
        return Sample(
            image=torch.from_numpy(image),
            semantic=torch.from_numpy(canvas.semantic),
            instances=torch.from_numpy(canvas.instances),
            name=f"embedded_{self.split}_{index:06d}",
        )

    def checksum(self) -> str:
        """Hash of the generator's version and every option: they determine all pixels."""
        options = (GENERATOR_VERSION, self.seed, self.split, *self.size, self.length)
        return hashlib.sha256(repr(("embedded", *options)).encode()).hexdigest()[:16]
