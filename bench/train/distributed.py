"""The processes of a run that `torchrun` started: who this one is, and what they tell each other.

Gradients travel by DistributedDataParallel. What is here is small and goes through the CPU (gloo), so that no
device has to wait for it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from bench.errors import UserError

TIMEOUT = timedelta(minutes=10)
"""How long a process waits for another that is silent; one that died is noticed at once by its connection."""
PATIENCE = timedelta(days=7)
"""The same while the first process evaluates, which may take long."""
_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class World:
    """This process among those of the run; by default it is alone.

    Attributes:
        rank: number of this process, from 0.
        size: how many there are.
        patient: the group that waits for an evaluation.
    """

    rank: int = 0
    size: int = 1
    patient: Any = None

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0

    def gather(self, values: Sequence[int]) -> list[list[int]]:
        """The values of every process, in order of rank; each may have another number of them."""
        if self.size == 1:
            return [list(values)]
        lengths = [torch.zeros(1, dtype=torch.int64) for _ in range(self.size)]
        dist.all_gather(lengths, torch.tensor([len(values)]))
        longest = max(int(length) for length in lengths)
        mine = torch.zeros(longest, dtype=torch.int64)
        mine[: len(values)] = torch.tensor(values, dtype=torch.int64)
        found = [torch.zeros_like(mine) for _ in range(self.size)]
        dist.all_gather(found, mine)
        return [row[: int(length)].tolist() for row, length in zip(found, lengths, strict=True)]

    def most(self, value: int) -> int:
        """The largest value of all processes."""
        if self.size == 1:
            return value
        found = torch.tensor(value)
        dist.all_reduce(found, dist.ReduceOp.MAX)
        return int(found)

    def mean(self, values: Tensor) -> Tensor:
        """The mean over the processes, value by value."""
        if self.size == 1:
            return values
        total = values.clone()
        dist.all_reduce(total)
        return total / self.size

    def decide(self, make: Callable[[], Any]) -> Any:
        """What `make` returns (JSON-able) in the first process, which alone calls it. A UserError there is
        raised everywhere."""
        if self.size == 1:
            return make()
        answer: dict[str, Any] = {}
        if self.first:
            try:
                answer["value"] = make()
            except UserError as error:
                answer["error"] = str(error)
        answer = json.loads(bytes(self.gather(list(json.dumps(answer).encode()) if self.first else [])[0]))
        if "error" in answer:
            raise UserError(answer["error"])
        return answer["value"]

    def wait(self) -> None:
        """Until all are here; for as long as an evaluation may take."""
        if self.size > 1:
            dist.barrier(group=self.patient)


ALONE = World()


def launched() -> bool:
    """Whether `torchrun`, or anything that sets the same variables, started this process."""
    return all(name in os.environ for name in _VARIABLES)


def local_device(name: str | None) -> str | None:
    """The device for this process where --device says `name`: its own GPU of the machine under `torchrun`."""
    if not launched() or name not in (None, "cuda") or not torch.cuda.is_available():
        return name
    return f"cuda:{os.environ['LOCAL_RANK']}"


@contextmanager
def processes(device: torch.device) -> Iterator[World]:
    """Joins the other processes of the run, if there are any; `device` is that of this one.

    Raises UserError where CPU and GPU processes are mixed.
    """
    if not launched():
        yield ALONE
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=TIMEOUT)
    patient = dist.new_group(backend="gloo", timeout=PATIENCE)
    world = World(dist.get_rank(), dist.get_world_size(), patient)
    kinds = {row[0] for row in world.gather([device.type == "cuda"])}
    if len(kinds) > 1:
        raise UserError("some processes have a GPU and some have none; give --device")
    yield world
    dist.destroy_process_group()  # not after an error: the others may never come to it
