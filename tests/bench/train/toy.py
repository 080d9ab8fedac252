"""Data that takes no time to make: images of two halves, their brightness telling the class."""

import torch

from bench.data.base import DatasetInfo, Sample, SegmentationDataset
from bench.data.loader import collate


class Squares(SegmentationDataset):
    """Each image is split into a left and a right class, brightness telling which."""

    info = DatasetInfo(name="squares", classes=tuple("abcd"), colors=((0, 0, 0),) * 4)
    split = "train"

    def __init__(self, length=6, size=32):
        self.length, self.size = length, size

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index)
        left, right = torch.randint(0, 4, (2,), generator=generator).tolist()
        semantic = torch.full((self.size, self.size), left, dtype=torch.uint8)
        semantic[:, self.size // 2 :] = right
        return Sample(
            image=(semantic * 80).expand(3, -1, -1).contiguous(), semantic=semantic, name=f"{index}"
        )

    def checksum(self):
        return f"squares-{self.length}-{self.size}"


def batch(size=2, step=0, poison=False):
    """Images [B, 3, 32, 32] with noise, and their targets; with `poison` one value is NaN."""
    made = collate([Squares(64)[index] for index in range(step * size, (step + 1) * size)])
    images = made.images
    images += 0.1 * torch.randn(images.shape, generator=torch.Generator().manual_seed(step))
    if poison:
        images[0, 0, 0, 0] = float("nan")
    return made
