from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bench.data import Sample, SegmentationDataset, open_dataset
from bench.data.base import DatasetInfo
from bench.data.export import export, export_zipped
from bench.data.export_layouts import LAYOUTS
from bench.data.targets import Targets

SPLITS = {"train": 4, "val": 2}
SIZE = (64, 96)


class Crowded(SegmentationDataset):
    """`dataset` where the largest object of each image is a crowd."""

    def __init__(self, dataset: SegmentationDataset) -> None:
        self.dataset, self.info, self.split = dataset, dataset.info, dataset.split

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Sample:
        sample = self.dataset[index]
        areas = torch.bincount(sample.instances.flatten())
        return replace(sample, crowd=frozenset({int(areas[1:].argmax()) + 1}))

    def checksum(self) -> str:
        return self.dataset.checksum()


def embedded(split: str, layout: str = "") -> SegmentationDataset:
    """What the fixtures export: with crowds where the layout holds them."""
    dataset = open_dataset("embedded", split=split, size=SIZE, length=SPLITS[split])
    return Crowded(dataset) if layout in ("cityscapes", "coco", "mapillary") else dataset


def objects_of(sample: Sample, info: DatasetInfo) -> list[tuple[int, bool, bytes]]:
    """The objects of things as class, crowd and mask, in an order of their own."""
    found = Targets("instance", info.things).truth(sample)
    rows = zip(found.labels.tolist(), found.crowd.tolist(), found.masks, strict=True)
    return sorted((label, crowd, mask.numpy().tobytes()) for label, crowd, mask in rows)


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Layout -> root of four training and two validation samples, semantic, by `export`. Read only."""
    roots = {}
    for layout in ("ade20k", "cityscapes", "camvid"):
        roots[layout] = tmp_path_factory.mktemp(layout)
        for split in SPLITS:
            export(embedded(split), layout, roots[layout])
    return roots


@pytest.fixture(scope="session")
def with_objects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Layout -> root of the same samples with labels of objects where the layout has them. Read only."""
    roots = {}
    for layout in LAYOUTS:
        roots[layout] = tmp_path_factory.mktemp(f"{layout}_objects")
        for split in SPLITS:
            export(embedded(split, layout), layout, roots[layout], objects=True)
    return roots


@pytest.fixture(scope="session")
def zipped(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same as zips. Read only, but for ade20k, where `data prepare` may add what it makes."""
    roots = {}
    for layout in LAYOUTS:
        roots[layout] = tmp_path_factory.mktemp(f"{layout}_zipped")
        export_zipped([embedded(split, layout) for split in SPLITS], layout, roots[layout], objects=True)
    return roots
