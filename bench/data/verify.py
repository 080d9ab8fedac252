"""Going through a dataset once: is everything there, readable and labelled with known ids?"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib import import_module

import numpy as np

from bench.data.base import SegmentationDataset
from bench.data.pairs import PairedFiles, UnreadableFile
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
    pixels: class name -> labelled pixels; ignored: pixels without a class.
    """

    dataset: str
    split: str
    samples: int
    published: int | None
    sizes: dict[str, int]
    pixels: dict[str, int]
    ignored: int
    checksum: str
    faults: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Examined:
    fault: str | None = None
    unreadable: bool = False
    size: str = ""
    counts: np.ndarray | None = None
    digest: bytes = b""


def published_counts(name: str) -> dict[str, int]:
    """Number of samples in each official split; empty for the embedded dataset."""
    return {} if name == "embedded" else import_module(f"bench.data.{name}").COUNTS


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
    pixels = np.zeros(256, np.int64)
    digest = hashlib.sha256()
    label = f"{dataset.info.name} {dataset.split}"
    for found in progress(_examine_all(dataset), len(dataset), label):
        if found.fault is not None:
            (skipped if found.unreadable and skip_corrupt else faults).append(found.fault)
            continue
        sizes[found.size] += 1
        pixels += found.counts
        digest.update(found.digest)
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
    counts = np.bincount(sample.semantic.numpy().ravel(), minlength=256)
    digest = hashlib.sha256(sample.name.encode())
    if isinstance(dataset, PairedFiles):
        pair = dataset.pairs[index]
        digest.update(pair.image.read_bytes() + pair.labels.read_bytes())
    else:
        digest.update(sample.image.numpy().tobytes() + sample.semantic.numpy().tobytes())
    return _Examined(size=f"{width}x{height}", counts=counts, digest=digest.digest())
