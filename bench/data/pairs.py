"""Datasets that are folders of images and label maps: finding, reading and checking the files."""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

from bench.data.base import IGNORE, DatasetInfo, Sample, SegmentationDataset
from bench.data.resize import from_pil
from bench.errors import UserError, nearest

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
_INVALID = 254  # in a lookup table: an id that must not occur
_DECODING_ERRORS = (
    OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Image.DecompressionBombError,
)  # fmt: skip
"""What Pillow raises on damaged files, depending on the format and on where the damage is."""


class UnreadableFile(UserError):
    """A file that cannot be decoded; `skip_corrupt=True` leaves its sample out."""


@dataclass(frozen=True)
class Pair:
    """An image and its label map; `name` is unique in the dataset."""

    name: str
    image: Path
    labels: Path


@dataclass(frozen=True)
class LabelTable:
    """How ids in label files become classes.

    lookup: uint8 [256], class id, 255 (ignored) or 254 (must not occur); expected: the valid ids in words.
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


class PairedFiles(SegmentationDataset):
    """Samples from pairs of files, decoded on access; `open_dataset` tells of skip_corrupt and errors."""

    def __init__(
        self,
        info: DatasetInfo,
        split: str,
        pairs: Sequence[Pair],
        table: LabelTable,
        skip_corrupt: bool = False,
    ) -> None:
        self.info, self.split, self.table = info, split, table
        self.pairs = list(pairs)
        if skip_corrupt:
            self._drop_unreadable()

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self.pairs):
            raise IndexError(f"sample {index} of {len(self.pairs)}")
        pair = self.pairs[index]
        image, labels = read_image(pair.image), read_labels(pair.labels)
        if image.size != labels.shape[::-1]:
            raise UserError(
                f"{pair.labels}: label map of {labels.shape[1]}x{labels.shape[0]} pixels (width x height), "
                f"but its image {pair.image} has {image.width}x{image.height}"
            )
        semantic = torch.from_numpy(map_labels(labels, self.table, pair.labels))
        return Sample(image=from_pil(image), semantic=semantic, name=pair.name)

    def checksum(self) -> str:
        """Hash of the classes and of every file's name and size; it reads no file (`data verify` does)."""
        digest = hashlib.sha256(repr((self.info.name, self.split, self.info.classes)).encode())
        for pair in self.pairs:
            sizes = (pair.name, pair.image.stat().st_size, pair.labels.stat().st_size)
            digest.update(repr(sizes).encode())
        return digest.hexdigest()[:16]

    def _drop_unreadable(self) -> None:
        with ThreadPoolExecutor() as pool:
            faults = list(pool.map(_unreadable, self.pairs))
        self.skipped = tuple(fault for fault in faults if fault is not None)
        self.pairs = [pair for pair, fault in zip(self.pairs, faults, strict=True) if fault is None]
        if not self.pairs:
            raise UserError(f"{self.info.name} {self.split}: no readable sample ({self.skipped[0]})")


def read_image(path: Path) -> Image.Image:
    """RGB image, upright as its EXIF orientation says. Raises UnreadableFile."""
    image = decode(path)
    return ImageOps.exif_transpose(image).convert("RGB")


def read_labels(path: Path) -> np.ndarray:
    """Integer [H,W]: the ids in the file (palette images: the indices). Raises UnreadableFile, UserError."""
    labels = np.asarray(decode(path))
    if labels.ndim != 2:
        raise UserError(f"{path}: expected one channel of class ids, found {labels.shape[2]} channels")
    return labels.astype(np.uint8) if labels.dtype == bool else labels


def map_labels(labels: np.ndarray, table: LabelTable, path: Path) -> np.ndarray:
    """uint8 [H,W] class ids. Raises UserError for an id that the dataset does not have."""
    outside = (labels < 0) | (labels > 255)
    mapped = table.lookup[np.where(outside, 0, labels)] if labels.dtype != np.uint8 else table.lookup[labels]
    wrong = outside | (mapped == _INVALID)
    if wrong.any():
        ids, counts = np.unique(labels[wrong], return_counts=True)
        found = ", ".join(f"id {i} on {n} pixels" for i, n in zip(ids[:3], counts[:3], strict=True))
        more = f" and {len(ids) - 3} more ids" if len(ids) > 3 else ""
        raise UserError(f"{path}: {found}{more}; expected {table.expected}")
    return mapped


def list_files(folder: Path, suffixes: Iterable[str], ending: str = "") -> dict[str, Path]:
    """Stem (without `ending`) -> path of the files in `folder` with one of the suffixes, in order of name."""
    wanted = tuple((ending + suffix).lower() for suffix in suffixes)
    found = (path for path in sorted(folder.iterdir()) if path.name.lower().endswith(wanted))
    return {path.stem.removesuffix(ending): path for path in found}


def pair_up(images: dict[str, Path], labels: dict[str, Path], expected: Path, layout: str) -> list[Pair]:
    """Pairs by stem. Raises UserError for an image without a label map and where there is no image at all.

    expected: path of the first image's label map if it were there, with `{name}` for the stem.
    """
    if not images:
        raise UserError(f"no images found; expected {layout}")
    missing = [name for name in images if name not in labels]
    if missing:
        where = str(expected).format(name=missing[0])
        count = f"{len(missing)} of {len(images)} images have none"
        raise UserError(f"{images[missing[0]]}: no label map at {where} ({count})")
    return [Pair(name, path, labels[name]) for name, path in images.items()]


def need_split(dataset: str, split: str, known: dict[str, str]) -> str:
    """The folder of a split. Raises UserError naming the nearest."""
    if split not in known:
        raise UserError(f"{dataset} has no split '{split}'{nearest(split, known)}")
    return known[split]


def need_folder(dataset: str, folder: Path | None, layout: str, published: str) -> Path:
    """`folder` if it is one. Raises UserError that says what is expected and where it is published."""
    advice = f"expected {layout}; the dataset is published at {published}"
    if folder is None:
        raise UserError(f"dataset {dataset} needs its root folder (--root): {advice}")
    if not folder.is_dir():
        raise UserError(f"dataset {dataset}: no folder {folder}: {advice}")
    return folder


def decode(path: Path) -> Image.Image:
    """The picture in a file, as it is stored. Raises UserError; UnreadableFile for a damaged one."""
    try:
        with Image.open(path) as image:
            image.load()
            return image
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except PermissionError:
        raise UserError(f"{path}: no permission to read it") from None
    except _DECODING_ERRORS as error:
        raise UnreadableFile(f"{path}: truncated or not an image ({error})") from error


def _unreadable(pair: Pair) -> str | None:
    for path in (pair.image, pair.labels):
        try:
            decode(path)
        except UnreadableFile as error:
            return str(error)
    return None
