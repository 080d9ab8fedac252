"""Labels as they are in files: pictures of ids, and how ids become classes."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from bench.data.archive import AnyPath
from bench.data.base import IGNORE, Objects, Sample
from bench.data.zipped import UnreadableFile
from bench.errors import UserError

if TYPE_CHECKING:
    from bench.data.pairs import Pair

_INVALID = 254  # in a lookup table: an id that must not occur
_DECODING_ERRORS = (
    OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Image.DecompressionBombError,
)  # fmt: skip
"""What Pillow raises on damaged files, depending on the format and on where the damage is."""


@dataclass(frozen=True)
class Labels:
    """What the label file of one image says; the fields are those of `Sample`, as arrays.

    semantic: uint8 [H,W]; instances: int32 [H,W] or None; crowd: numbers in `instances`; objects: with masks
    that may overlap.
    """

    semantic: np.ndarray
    instances: np.ndarray | None = None
    crowd: frozenset[int] = frozenset()
    objects: Objects | None = None

    def sample(self, image: Tensor, name: str) -> Sample:
        """The sample of these labels and their image, uint8 [3,H,W]."""
        instances = None if self.instances is None else torch.from_numpy(self.instances)
        semantic = torch.from_numpy(self.semantic)
        return Sample(
            image=image,
            semantic=semantic,
            name=name,
            instances=instances,
            crowd=self.crowd,
            objects=self.objects,
        )


@dataclass(frozen=True)
class LabelTable:
    """How ids in label files become classes.

    lookup: uint8 [ids], class id, 255 (ignored) or 254 (must not occur); expected: the valid ids in words.
    """

    lookup: np.ndarray
    expected: str

    @classmethod
    def of(cls, classes: dict[int, int | None], expected: str) -> LabelTable:
        """From file id -> class (None: ignored)."""
        lookup = np.full(256, _INVALID, np.uint8)
        for file_id, label in classes.items():
            lookup[file_id] = IGNORE if label is None else label
        return cls(lookup, expected)

    def __call__(self, pair: Pair) -> Labels:
        """The labels in a picture of ids. Raises UnreadableFile, UserError."""
        return Labels(map_labels(read_labels(pair.labels), self, pair.labels))


def read_image(path: AnyPath) -> Image.Image:
    """RGB image, upright as its EXIF orientation says. Raises UnreadableFile."""
    image = decode(path)
    return ImageOps.exif_transpose(image).convert("RGB")


def read_labels(path: AnyPath) -> np.ndarray:
    """Integer [H,W]: the ids in the file (palette images: the indices). Raises UnreadableFile, UserError."""
    labels = np.asarray(decode(path))
    if labels.ndim != 2:
        raise UserError(f"{path}: expected one channel of class ids, found {labels.shape[2]} channels")
    if labels.dtype.kind not in "biu":
        raise UserError(f"{path}: expected class ids, found numbers of the type {labels.dtype}")
    return labels.astype(np.uint8) if labels.dtype == bool else labels


def map_labels(labels: np.ndarray, table: LabelTable, path: AnyPath) -> np.ndarray:
    """uint8 [H,W] class ids. Raises UserError for an id that the dataset does not have."""
    if labels.dtype == np.uint8 and len(table.lookup) > 255:
        mapped = table.lookup[labels]
        wrong = mapped == _INVALID
    else:
        outside = (labels < 0) | (labels >= len(table.lookup))
        mapped = table.lookup[np.where(outside, 0, labels)]
        wrong = outside | (mapped == _INVALID)
    if wrong.any():
        ids, counts = np.unique(labels[wrong], return_counts=True)
        found = ", ".join(f"id {i} on {n} pixels" for i, n in zip(ids[:3], counts[:3], strict=True))
        more = f" and {len(ids) - 3} more ids" if len(ids) > 3 else ""
        raise UserError(f"{path}: {found}{more}; expected {table.expected}")
    return mapped


def decode(path: AnyPath) -> Image.Image:
    """The picture in a file, as it is stored. Raises UserError; UnreadableFile for a damaged one."""
    try:
        with path.open("rb") as file, Image.open(file) as image:
            image.load()
            return image
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except PermissionError:
        raise UserError(f"{path}: no permission to read it") from None
    except _DECODING_ERRORS as error:
        raise UnreadableFile(f"{path}: truncated or not an image ({error})") from error
