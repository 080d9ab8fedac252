"""A data set whose pictures are corrupted."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from bench.data.base import Sample, SegmentationDataset
from bench.evaluate.corruptions.frost import GENERATED, frost_files
from bench.evaluate.corruptions.kinds import check, corrupt

VERSION = "corruptions/v1"
"""Part of every seed and checksum: a change of a corruption's pixels is a change of this."""


class Corrupted(SegmentationDataset):
    """`dataset` with one corruption of one severity; the labels stay. What is random in a picture depends on
    its name, the corruption and the severity alone, so it is the same in every process and order.

    Attributes:
        words: what was done, in words, for a report.
    """

    def __init__(
        self, dataset: SegmentationDataset, name: str, severity: int, photographs: Path | None = None
    ) -> None:
        check(name, severity)
        self.dataset, self.name, self.severity = dataset, name, severity
        self.photographs = photographs if name == "frost" else None
        self.info, self.split, self.skipped = dataset.info, dataset.split, dataset.skipped
        self.words = f"{name}, severity {severity}"
        self._files = ""
        if name == "frost" and photographs is None:
            self.words += f"; {GENERATED}"
        elif name == "frost":
            files = frost_files(photographs)
            self.words += f", with {len(files)} photographs"
            self._files = " ".join(f"{file.name} {file.stat().st_size}" for file in files)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Sample:
        sample = self.dataset[index]
        rng = np.random.default_rng(list(self._digest(sample.name)))
        picture = sample.image.permute(1, 2, 0).numpy()
        changed = corrupt(picture, self.name, self.severity, rng, self.photographs)
        return replace(sample, image=torch.from_numpy(changed).permute(2, 0, 1).contiguous())

    def checksum(self) -> str:
        """Of the data set, the corruption and, for frost, the photographs' names and sizes."""
        return self._digest(f"{self.dataset.checksum()} {self.words} {self._files}").hex()[:16]

    def _digest(self, text: str) -> bytes:
        whole = f"{VERSION} {self.name} {self.severity} {text}"
        return hashlib.sha256(whole.encode()).digest()


def corrupted(
    dataset: SegmentationDataset, name: str, severity: int, photographs: Path | None = None
) -> Corrupted:
    """`dataset` with corruption `name`, 1 to 5 `severity`. `photographs`: a folder with pictures of ice for
    "frost", for which a generated texture stands in otherwise. Raises UserError."""
    return Corrupted(dataset, name, severity, photographs)
