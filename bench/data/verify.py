"""Going through a dataset once: is everything there, readable and labelled with known ids?"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from bench.data.base import Sample, SegmentationDataset
from bench.data.pairs import PairedFiles
from bench.data.zipped import UnreadableFile
from bench.errors import UserError

Progress = Callable[[Iterable, int, str], Iterable]
"""(items, their number, what they are) -> the same items, shown as they pass."""


def silent(items: Iterable, total: int, label: str) -> Iterable:
    return items


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What was found in one split. `faults` are one line each; `checksum` covers the content of every good
    sample.

    published: number of samples of the official split (None: it has no fixed number); sizes: "WxH" -> images;
    pixels: class name -> labelled pixels; ignored: pixels without a class; objects: class name -> labelled
    objects, crowds: regions of many objects, which are not among them (both of none for semantic labels).
    """

    dataset: str
    split: str
    samples: int
    published: int | None
    sizes: dict[str, int]
    pixels: dict[str, int]
    ignored: int
    objects: dict[str, int]
    crowds: int
    checksum: str
    faults: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Examined:
    fault: str | None = None
    unreadable: bool = False
    size: str = ""
    counts: np.ndarray | None = None
    objects: np.ndarray | None = None
    crowds: int = 0
    digest: bytes = b""


def verify(
    dataset: SegmentationDataset,
    *,
    published: int | None = None,
    skip_corrupt: bool = False,
    progress: Progress = silent,
) -> Verification:
    """Reads every sample. Faults are collected, not raised; with skip_corrupt, unreadable files are not
    faults.

    A number of samples other than `published` is a fault, too.
    """
    faults, skipped = [], []
    sizes: Counter[str] = Counter()
    pixels, objects = np.zeros(256, np.int64), np.zeros(256, np.int64)
    crowds = 0
    digest = hashlib.sha256()
    label = f"{dataset.info.name} {dataset.split}"
    for found in progress(_examine_all(dataset), len(dataset), label):
        if found.fault is not None:
            (skipped if found.unreadable and skip_corrupt else faults).append(found.fault)
            continue
        sizes[found.size] += 1
        pixels += found.counts
        objects += found.objects
        crowds += found.crowds
        digest.update(found.digest)
    for path in dataset.shared if isinstance(dataset, PairedFiles) else ():
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    if published is not None and len(dataset) != published:
        faults.append(f"{label}: {len(dataset)} images, but the published split has {published}")
    return Verification(
        dataset=dataset.info.name,
        split=dataset.split,
        samples=len(dataset),
        published=published,
        sizes=dict(sizes.most_common()),
        pixels={name: int(n) for name, n in zip(dataset.info.classes, pixels, strict=False)},
        ignored=int(pixels[dataset.info.ignore_index]),
        objects={name: int(n) for name, n in zip(dataset.info.classes, objects, strict=False) if n},
        crowds=crowds,
        checksum=digest.hexdigest()[:16],
        faults=faults,
        skipped=skipped,
    )


def _examine_all(dataset: SegmentationDataset) -> Iterator[_Examined]:
    pool = ThreadPoolExecutor()
    try:
        yield from pool.map(lambda index: _examine(dataset, index), range(len(dataset)))
    finally:
        pool.shutdown(cancel_futures=True)


def _examine(dataset: SegmentationDataset, index: int) -> _Examined:
    try:
        sample = dataset[index]
    except UserError as error:
        return _Examined(fault=str(error), unreadable=isinstance(error, UnreadableFile))
    height, width = sample.size
    objects, crowds = _objects(sample)
    return _Examined(
        size=f"{width}x{height}",
        counts=np.bincount(sample.semantic.numpy().ravel(), minlength=256),
        objects=objects,
        crowds=crowds,
        digest=_digest(dataset, index, sample),
    )


def _objects(sample: Sample) -> tuple[np.ndarray, int]:
    """Number of objects of each class int64 [256] without crowds, and of crowds."""
    if sample.objects is not None:
        crowd = sample.objects.crowd.numpy()
        return np.bincount(sample.objects.labels.numpy()[~crowd], minlength=256), int(crowd.sum())
    if sample.instances is None:
        return np.zeros(256, np.int64), 0
    numbers, first = np.unique(sample.instances.numpy(), return_index=True)
    single = (numbers > 0) & ~np.isin(numbers, sorted(sample.crowd))
    return np.bincount(sample.semantic.numpy().ravel()[first[single]], minlength=256), len(sample.crowd)


def _digest(dataset: SegmentationDataset, index: int, sample: Sample) -> bytes:
    digest = hashlib.sha256(sample.name.encode())
    if isinstance(dataset, PairedFiles):
        pair = dataset.pairs[index]
        for path in (pair.image, pair.labels):
            if path not in dataset.shared:
                digest.update(path.read_bytes())
        return digest.digest()
    parts = [sample.image, sample.semantic, sample.instances]
    if sample.objects is not None:
        parts += [sample.objects.labels, sample.objects.masks, sample.objects.crowd]
    for part in parts:
        if part is not None:
            digest.update(part.contiguous().numpy().tobytes())
    return digest.digest()
