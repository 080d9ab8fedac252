"""What a process must know of the batches of the others so that all together compute one batch."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.nn.functional import pad

from bench.data.loader import Batch
from bench.train.distributed import World
from models.outputs import MaskTarget


def agree(batch: Batch, world: World) -> tuple[Batch, list[MaskTarget]]:
    """This process's part of a batch, padded as the whole batch would be by one process; and the labels of
    all its images, in order, as targets without pixels."""
    if world.size == 1:
        return batch, batch.targets
    height, width = batch.images.shape[-2:]
    mine = [height, width, batch.sizes is not None]
    for target in batch.targets:
        mine += [len(target.labels), *target.labels.tolist()]
    told = world.gather(mine)
    size = max(row[0] for row in told), max(row[1] for row in told)
    padded = any(row[2] or (row[0], row[1]) != size for row in told)
    labels = [target for row in told for target in _targets(row[3:])]
    return _padded(batch, size, padded), labels


def _padded(batch: Batch, size: tuple[int, int], padded: bool) -> Batch:
    """The batch with zeros on the right and below up to `size`."""
    height, width = batch.images.shape[-2:]
    if not padded:
        return batch
    more = (0, size[1] - width, 0, size[0] - height)
    targets = [MaskTarget(target.labels, pad(target.masks, more)) for target in batch.targets]
    return Batch(pad(batch.images, more), targets, batch.sizes or [(height, width)] * len(targets))


def _targets(values: list[int]) -> Iterator[MaskTarget]:
    """From, for each image, a number of labels and the labels."""
    while values:
        count, values = values[0], values[1:]
        labels, values = torch.tensor(values[:count], dtype=torch.int64), values[count:]
        yield MaskTarget(labels, torch.zeros(count, 0, 0, dtype=torch.bool))
