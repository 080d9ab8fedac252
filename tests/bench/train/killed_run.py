"""`python killed_run.py FOLDER STEP...` trains the tiny model twice: in FOLDER/killed, where SIGKILL ends it
after each of the given numbers of further steps, and without a stop in FOLDER/whole. Each life is a process
of its own, forked before torch has computed anything."""

import os
import signal
import sys

import torch

from bench.data.transforms import AugmentSpec
from bench.train import Hooks, TrainSpec, train
from tests.bench.train.tiny import TinySpec
from tests.bench.train.toy import Squares

SPEC = TrainSpec(
    steps=30,
    batch=2,
    accumulate=2,
    lr=1e-3,
    checkpoint_every=4,
    augment=AugmentSpec(flip=0.5, jitter=True),
    seed=3,
)


def live(folder: str, steps: int | None) -> None:
    torch.set_num_threads(1)
    done = 0

    def report(_step: int, _values: dict) -> None:
        nonlocal done
        done += 1
        if done == steps:
            os.kill(os.getpid(), signal.SIGKILL)

    train(TinySpec(), SPEC, Squares(), folder, progress=False, hooks=Hooks(report=report))


def spend(folder: str, steps: int | None) -> int:
    """One life; returns the signal that ended it, or 0."""
    child = os.fork()
    if child == 0:
        live(folder, steps)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else -os.WEXITSTATUS(status)


if __name__ == "__main__":
    folder, *deaths = sys.argv[1:]
    print(*(spend(f"{folder}/killed", steps) for steps in [*map(int, deaths), None]))
    print(spend(f"{folder}/whole", None))
