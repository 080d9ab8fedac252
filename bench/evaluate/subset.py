"""The first images of a dataset."""

from bench.data.base import Sample, SegmentationDataset


class Subset(SegmentationDataset):
    """The first `length` samples of `dataset`, or all if it has fewer."""

    def __init__(self, dataset: SegmentationDataset, length: int) -> None:
        self.dataset, self.length = dataset, min(length, len(dataset))
        self.info, self.split, self.skipped = dataset.info, dataset.split, dataset.skipped

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < self.length:
            raise IndexError(f"sample {index} of {self.length}")
        return self.dataset[index]

    def checksum(self) -> str:
        """That of the whole dataset, with the length."""
        return f"{self.dataset.checksum()}[:{self.length}]"
