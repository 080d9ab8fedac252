"""Datasets that are folders (or zips) of images and label files: finding and reading the files."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bench.data.archive import AnyPath, open_root
from bench.data.base import DatasetInfo, Sample, SegmentationDataset
from bench.data.labels import Labels, decode, read_image
from bench.data.resize import from_pil
from bench.data.zipped import UnreadableFile, is_hidden
from bench.errors import UserError, nearest

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True)
class Pair:
    """An image and its label file; `name` is unique in the dataset."""

    name: str
    image: AnyPath
    labels: AnyPath


class PairedFiles(SegmentationDataset):
    """Samples from pairs of files, decoded on access; `open_dataset` tells of skip_corrupt and errors.

    read: from a pair to its labels; shared: files that hold labels of many images.
    """

    def __init__(
        self,
        info: DatasetInfo,
        split: str,
        pairs: Sequence[Pair],
        read: Callable[[Pair], Labels],
        skip_corrupt: bool = False,
        *,
        shared: Sequence[AnyPath] = (),
    ) -> None:
        self.info, self.split, self.read, self.shared = info, split, read, tuple(shared)
        self.pairs = list(pairs)
        if skip_corrupt:
            self._drop_unreadable()

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self.pairs):
            raise IndexError(f"sample {index} of {len(self.pairs)}")
        pair = self.pairs[index]
        image, labels = read_image(pair.image), self.read(pair)
        height, width = labels.semantic.shape
        if image.size != (width, height):
            raise UserError(
                f"{pair.labels}: label map of {width}x{height} pixels (width x height), "
                f"but its image {pair.image} has {image.width}x{image.height}"
            )
        return labels.sample(from_pil(image), pair.name)

    def checksum(self) -> str:
        """Hash of the classes and of every file's name and size; it reads no file (`data verify` does)."""
        digest = hashlib.sha256(repr((self.info.name, self.split, self.info.classes)).encode())
        for pair in self.pairs:
            own = [path for path in (pair.image, pair.labels) if path not in self.shared]
            sizes = (pair.name, *(path.stat().st_size for path in own))
            digest.update(repr(sizes).encode())
        for path in self.shared:
            digest.update(repr((path.name, path.stat().st_size)).encode())
        return digest.hexdigest()[:16]

    def _drop_unreadable(self) -> None:
        with ThreadPoolExecutor() as pool:
            faults = list(pool.map(self._unreadable, self.pairs))
        self.skipped = tuple(fault for fault in faults if fault is not None)
        self.pairs = [pair for pair, fault in zip(self.pairs, faults, strict=True) if fault is None]
        if not self.pairs:
            raise UserError(f"{self.info.name} {self.split}: no readable sample ({self.skipped[0]})")

    def _unreadable(self, pair: Pair) -> str | None:
        try:
            decode(pair.image)
            self.read(pair)
        except UnreadableFile as error:
            return str(error)
        except UserError:  # wrong labels are told when they are read
            return None
        return None


def list_files(folder: AnyPath, suffixes: Iterable[str], ending: str = "") -> dict[str, AnyPath]:
    """Stem (without `ending`) -> path of the files in `folder` with one of the suffixes, in order of name;
    without hidden ones."""
    wanted = tuple((ending + suffix).lower() for suffix in suffixes)
    found = (path for path in sorted(folder.iterdir()) if path.name.lower().endswith(wanted))
    return {path.stem.removesuffix(ending): path for path in found if not is_hidden(path.name)}


def pair_up(
    images: dict[str, AnyPath], labels: dict[str, AnyPath], expected: AnyPath, layout: str
) -> list[Pair]:
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


def listed_images(listed: AnyPath, names: Iterable[str], folder: AnyPath) -> dict[str, AnyPath]:
    """Name -> image of those that a JSON lists. Raises UserError for an image that is not there, or if none
    is listed."""
    known, names = list_files(folder, IMAGE_SUFFIXES), list(names)
    if not names:
        raise UserError(f"{listed}: lists no image with labels")
    missing = [name for name in names if name not in known]
    if missing:
        count = f"{len(missing)} of {len(names)} are missing"
        raise UserError(f"{listed}: no image {folder / missing[0]}.jpg ({count})")
    return {name: known[name] for name in names}


def listed_pairs(
    dataset: str, names: AnyPath, images: AnyPath, labels: AnyPath, suffix: str, layout: str, published: str
) -> list[Pair]:
    """The images that a text file names, one stem a line, with their label files.

    Raises UserError where the list, a folder, an image or a label file is missing.
    """
    for folder in (images, labels):
        need_folder(dataset, folder, layout, published)
    try:
        listed = names.read_bytes().decode("utf-8-sig").split()
    except FileNotFoundError:
        raise UserError(f"dataset {dataset}: no list {names}: expected {layout}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{names}: not a list of names ({error})") from error
    if not listed:
        raise UserError(f"{names}: an empty list")
    found = listed_images(names, listed, images)
    return pair_up(found, list_files(labels, (suffix,)), labels / f"{{name}}{suffix}", f"{images}/*.jpg")


def need_split(dataset: str, split: str, known: dict[str, str]) -> str:
    """The folder of a split. Raises UserError naming the nearest."""
    if split not in known:
        raise UserError(f"{dataset} has no split '{split}'{nearest(split, known)}")
    return known[split]


def opened(root: str | Path | None, *around: str) -> AnyPath | None:
    """The root of a data set, or the first of the folders `around` that is in it; None without a root."""
    if root is None:
        return None
    base = open_root(root)
    return next((base / name for name in around if (base / name).is_dir()), base)


def need_folder(dataset: str, folder: AnyPath | None, layout: str, published: str) -> AnyPath:
    """`folder` if it is one. Raises UserError that says what is expected and where it is published."""
    advice = f"expected {layout}; the dataset is published at {published}"
    if folder is None:
        raise UserError(f"dataset {dataset} needs its root folder (--root): {advice}")
    if not folder.is_dir():
        raise UserError(f"dataset {dataset}: no folder {folder}: {advice}")
    return folder
