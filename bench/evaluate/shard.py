"""An evaluation divided among processes and ranks: who does which image, and how a worker does its own."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bench.data.base import Sample, SegmentationDataset
from bench.evaluate.predict import TestSpec, require_task
from bench.evaluate.scores import scorer
from bench.evaluate.tallies import TallyFolder
from bench.records import code_version
from bench.weights import RANDOM, file_hash, load_weights
from models.inference import Task
from models.spec import Spec, to_dict

CODE = ("ops", "models", "bench/evaluate", "bench/data", "bench/tasks.py")
"""What the scores of given weights on given data depend on."""

_SEED = 0  # of random weights: every process makes the same
_AHEAD = 2  # samples that are read while the model is busy
_NO_LIMIT = timedelta(days=30)  # a rank may wait for the others as long as it takes


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """All that decides the scores; a process can be handed one.

    `dataset` is what the model sees, see `bench.tasks.TaskView`; without `weights` they are random.
    """

    model: Spec
    weights: Path | None
    dataset: SegmentationDataset
    task: Task
    test: TestSpec = TestSpec()
    boundary: bool = False

    def network(self, device: torch.device | str) -> tuple[nn.Module, str]:
        """The model on a device, in evaluation mode, and what its weights are, in words.

        Raises UserError for a task that it does not give, and as `load_weights` does.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_SEED)
            model = self.model.build()
        require_task(model.inference, self.task, self.test)
        words = RANDOM if self.weights is None else load_weights(model, self.weights)
        return model.to(device).eval(), words

    def describe(self) -> dict[str, Any]:
        """What decides the scores, as JSON keeps it."""
        data = self.dataset
        return {
            "model": to_dict(self.model),
            "weights": "random" if self.weights is None else file_hash(self.weights),
            "data": {
                "name": data.info.name,
                "split": data.split,
                "checksum": data.checksum(),
                "images": len(data),
                "classes": list(data.info.classes),
            },
            "task": self.task,
            "test": asdict(self.test),
            "boundary": self.boundary,
            "code": code_version(*CODE),
        }


@dataclass(frozen=True, kw_only=True)
class Shard:
    """The part of one process: `images` of an evaluation, whose tallies go to `folder`."""

    label: str
    evaluation: Evaluation
    images: tuple[int, ...]
    folder: Path
    device: str
    threads: int


@dataclass(frozen=True)
class World:
    """The processes that `torchrun` started, or this one alone."""

    rank: int
    size: int

    def share(self, images: int, done: Collection[int]) -> list[int]:
        """The images of this rank: every `size`-th, but for those that are done."""
        return [image for image in range(self.rank, images, self.size) if image not in done]

    def agree(self, answer: bool) -> bool:
        """The first rank's answer, on every rank once the first one has it."""
        said = [answer]
        if self.size > 1:
            torch.distributed.broadcast_object_list(said)
        return said[0]

    def wait(self) -> None:
        """Until all ranks are here."""
        if self.size > 1:
            torch.distributed.barrier()


@contextmanager
def world() -> Iterator[World]:
    """The ranks that take part, told by the environment variables RANK and WORLD_SIZE."""
    found = World(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))
    if found.size == 1:
        yield found
        return
    torch.distributed.init_process_group("gloo", timeout=_NO_LIMIT)
    try:
        yield found
    finally:
        torch.distributed.destroy_process_group()


def shards(
    evaluation: Evaluation, folder: Path, images: Sequence[int], device: str, processes: int, rank: int
) -> list[Shard]:
    """`images` dealt out to `processes`; a name for each that no other process has."""
    count = max(1, min(processes, len(images)))
    threads = max(1, torch.get_num_threads() // count)
    return [
        Shard(
            label=f"{rank}-{place}",
            evaluation=evaluation,
            images=tuple(images[place::count]),
            folder=folder,
            device=_device(device, place),
            threads=threads,
        )
        for place in range(count)
    ]


def perform(shard: Shard, report: Callable[[int], None]) -> int:
    """Does a shard in a process of its own; calls back with the number of images done so far."""
    torch.set_num_threads(shard.threads)
    return tally(shard, shard.evaluation.network(shard.device)[0], report)


def tally(shard: Shard, model: nn.Module, report: Callable[[int], None]) -> int:
    """Adds the tally of each image of the shard to the folder."""
    evaluation = shard.evaluation
    scores = scorer(evaluation.task, evaluation.dataset.info, boundary=evaluation.boundary)
    with TallyFolder(shard.folder).writer(shard.label) as write:
        for count, (image, sample) in enumerate(_ahead(evaluation.dataset, shard.images), start=1):
            found = scores.predict(model, sample.image, evaluation.test, shard.device)
            write(scores.image(found, sample, image))
            report(count)
    return len(shard.images)


def _device(name: str, place: int) -> str:
    """Processes on "cuda" take the GPUs in turn; a device with a number is meant as it is."""
    return f"cuda:{place % torch.cuda.device_count()}" if name == "cuda" else name


def _ahead(dataset: SegmentationDataset, images: Sequence[int]) -> Iterator[tuple[int, Sample]]:
    """Samples with their numbers; a thread reads the next ones."""
    with ThreadPoolExecutor(1) as pool:
        reading: deque = deque()
        for image in images:
            reading.append((image, pool.submit(dataset.__getitem__, image)))
            if len(reading) > _AHEAD:
                number, sample = reading.popleft()
                yield number, sample.result()
        for number, sample in reading:
            yield number, sample.result()
