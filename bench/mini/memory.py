"""Data sets small enough to be held in memory, each sample made once."""

import hashlib
from dataclasses import replace

from bench.data.base import Sample, SegmentationDataset
from bench.data.resize import from_pil, resize_image, resize_labels, to_pil


class InMemory(SegmentationDataset):
    """A dataset that makes each sample once; without its instances, which semantic segmentation does not
    read."""

    def __init__(self, dataset: SegmentationDataset) -> None:
        self.dataset, self.info, self.split = dataset, dataset.info, dataset.split
        self._samples: dict[int, Sample] = {}

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Sample:
        if index not in self._samples:
            self._samples[index] = replace(self.dataset[index], instances=None)
        return self._samples[index]

    def checksum(self) -> str:
        """That of the dataset."""
        return self.dataset.checksum()


class Scaled(SegmentationDataset):
    """The first `length` samples of a dataset, or all it has, every one at `size` (H, W) in pixels.

    Images are resized bilinearly with antialiasing, labels to the nearest pixel.
    """

    def __init__(self, dataset: SegmentationDataset, size: tuple[int, int], length: int) -> None:
        self.dataset, self.info, self.split = dataset, dataset.info, dataset.split
        self.size, self.length = size, min(length, len(dataset))

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Sample:
        if not -self.length <= index < self.length:
            raise IndexError(index)
        sample = self.dataset[index]
        image = from_pil(resize_image(to_pil(sample.image), self.size))
        labels = from_pil(resize_labels(to_pil(sample.semantic), self.size))
        return replace(sample, image=image, semantic=labels, instances=None)

    def checksum(self) -> str:
        """16 hexadecimal digits of the dataset's checksum, the size and the number of samples."""
        text = repr((self.dataset.checksum(), self.size, self.length))
        return hashlib.sha256(text.encode()).hexdigest()[:16]
