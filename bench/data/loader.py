"""Training batches by number: batch `step` is a function of dataset, transform, seed and step alone.

There is no iterator to save: a resumed run asks for the next number and gets what the uninterrupted run got,
with any number of workers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.utils.data import DataLoader, Dataset, Sampler

from bench.data.base import Sample, SegmentationDataset
from bench.data.randomness import mix, permutation
from bench.data.targets import Targets
from bench.data.transforms import normalise
from bench.errors import UserError
from models.outputs import MaskTarget

Transform = Callable[[Sample, torch.Generator], Sample]


class Batch(NamedTuple):
    """Images [B,3,h,w], normalised float32, padded with zeros; one target each, masks [N,h,w]; and the (h,w)
    of each image without its padding, None where none is padded."""

    images: Tensor
    targets: list[MaskTarget]
    sizes: list[tuple[int, int]] | None = None


SEMANTIC = Targets("semantic")
_ORDER, _AUGMENT = 1, 2  # independent uses of the seed


class TrainLoader:
    """Endless shuffled batches.

    batch: images in a batch (of this process); workers: processes that prepare batches ahead (0: none,
    batches are made on demand); rank, world: this process among those of a distributed run (each gets other
    images, together one batch of batch * world); size_divisor: images are padded with zeros, after
    normalisation, to the largest of the batch rounded up to a multiple of this (masks with background), as
    the released code does; targets: of a sample, after the transform.
    """

    def __init__(
        self,
        dataset: SegmentationDataset,
        transform: Transform,
        batch: int,
        seed: int,
        workers: int = 0,
        *,
        rank: int = 0,
        world: int = 1,
        size_divisor: int = 32,
        targets: Callable[[Sample], MaskTarget] = SEMANTIC,
    ) -> None:
        if batch < 1 or not 0 <= rank < world:
            raise ValueError(f"batch {batch} of rank {rank} in a world of {world}")
        self.dataset, self.transform, self.batch_size, self.seed = dataset, transform, batch, seed
        self.workers, self.rank, self.world = workers, rank, world
        self.size_divisor, self.targets = size_divisor, targets
        self._epoch: tuple[int, list[int]] | None = None
        self._ahead: Iterator[Batch | UserError] | None = None
        self._next = -1

    def batch(self, step: int) -> Batch:
        """The batch of step >= 0.

        In order is fastest with workers; any order is right. Errors: those of the dataset (UserError).
        """
        if self.workers == 0:
            return self.make(step)
        if self._ahead is None or step != self._next:
            self._ahead = self._start(step)
        self._next = step + 1
        made = next(self._ahead)
        if isinstance(made, UserError):
            raise made
        return made

    def make(self, step: int) -> Batch:
        """The same, made here and now."""
        first = (step * self.world + self.rank) * self.batch_size
        samples = [self._augmented(position) for position in range(first, first + self.batch_size)]
        return collate(samples, self.size_divisor, self.targets)

    def indices(self, step: int) -> list[int]:
        """The samples of batch `step`. Each epoch is a new permutation; a batch may span two."""
        first = (step * self.world + self.rank) * self.batch_size
        return [self._index(position) for position in range(first, first + self.batch_size)]

    def close(self) -> None:
        """Ends the workers."""
        self._ahead = None

    def _index(self, position: int) -> int:
        epoch, offset = divmod(position, len(self.dataset))
        if self._epoch is None or self._epoch[0] != epoch:
            order = permutation(len(self.dataset), mix(_ORDER, self.seed), epoch)
            self._epoch = (epoch, order.tolist())
        return self._epoch[1][offset]

    def _augmented(self, position: int) -> Sample:
        generator = torch.Generator().manual_seed(mix(_AUGMENT, self.seed, position))
        return self.transform(self.dataset[self._index(position)], generator)

    def _start(self, step: int) -> Iterator[Batch | UserError]:
        self._ahead = None  # ends the former workers first
        steps = _Steps(self)
        return iter(
            DataLoader(
                steps,
                batch_size=None,
                sampler=_From(step),
                num_workers=self.workers,
                generator=torch.Generator(),  # else starting the workers would draw from the global one
            )
        )

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_ahead": None, "_epoch": None}


class _Steps(Dataset):
    """Item `step` is the batch of that step, for DataLoader's workers."""

    def __init__(self, loader: TrainLoader) -> None:
        self.loader = loader

    def __getitem__(self, step: int) -> Batch | UserError:
        try:
            return self.loader.make(step)
        except UserError as error:  # DataLoader would bury its one line in a traceback
            return error


class _From(Sampler[int]):
    """step, step + 1, ... without end."""

    def __init__(self, step: int) -> None:
        self.step = step

    def __iter__(self) -> Iterator[int]:
        step = self.step
        while True:
            yield step
            step += 1


def collate(
    samples: list[Sample], size_divisor: int = 32, targets: Callable[[Sample], MaskTarget] = SEMANTIC
) -> Batch:
    """Samples of several sizes -> one batch, padded right and below."""
    sizes = [sample.size for sample in samples]
    height, width = (-(-max(side) // size_divisor) * size_divisor for side in zip(*sizes, strict=True))
    images, found = [], []
    for sample in samples:
        padding = (0, width - sample.size[1], 0, height - sample.size[0])
        images.append(pad(normalise(sample.image), padding))
        target = targets(sample)
        found.append(MaskTarget(labels=target.labels, masks=pad(target.masks, padding)))
    padded = any(size != (height, width) for size in sizes)
    return Batch(torch.stack(images), found, sizes if padded else None)
