"""Datasets, transforms and the training loader.

`open_dataset` is the one way in; see `bench/data/README.md` for the layouts.
"""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path

from bench.data.base import IGNORE, DatasetInfo, Sample, SegmentationDataset
from bench.errors import UserError, nearest

_DATASETS = {
    "embedded": ("bench.data.synthetic", "Embedded"),
    "ade20k": ("bench.data.ade20k", "ADE20K"),
    "cityscapes": ("bench.data.cityscapes", "Cityscapes"),
    "camvid": ("bench.data.camvid", "CamVid"),
}

__all__ = ["IGNORE", "DatasetInfo", "Sample", "SegmentationDataset", "dataset_names", "open_dataset"]


def dataset_names() -> list[str]:
    """Names that `open_dataset` takes."""
    return list(_DATASETS)


def open_dataset(
    name: str, root: str | Path | None = None, split: str = "train", **options: object
) -> SegmentationDataset:
    """Open one split of a dataset.

    "embedded" takes no root; options size (int or (H, W), default 192), length, seed.
    "ade20k", "cityscapes", "camvid" need root; option skip_corrupt (default False: an unreadable file is an
    error when it is read; True: every file is decoded now, the unreadable are left out and `.skipped` names
    them).
    Errors: `UserError` (one line) for an unknown name, option or split, a missing folder, an empty split, an
    image without a mask.
    """
    if name not in _DATASETS:
        raise UserError(f"unknown dataset '{name}'{nearest(name, _DATASETS)}")
    module, attribute = _DATASETS[name]
    dataset = getattr(import_module(module), attribute)
    known = set(inspect.signature(dataset).parameters) - {"root", "split"}
    for option in options:
        if option not in known:
            raise UserError(f"dataset '{name}' has no option '{option}'{nearest(option, known)}")
    if name == "embedded":
        if root is not None:
            raise UserError(f"the embedded dataset is generated and takes no root folder (got '{root}')")
        return dataset(split=split, **options)
    return dataset(root=root, split=split, **options)
