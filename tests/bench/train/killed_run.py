"""Lives of one run that SIGKILL ends, and the same run without a stop: FOLDER/killed and FOLDER/whole.

`python killed_run.py FOLDER STEP...` kills after each of the given numbers of further steps, `python
killed_run.py FOLDER --random N` at N random moments. Each life is a process of its own, forked before torch
has computed anything. It prints the signals that ended them, or 0; `--random` says whether both runs are the
same.
"""

import os
import random
import signal
import sys
import time

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


def live(folder: str, steps: int | None, spec: TrainSpec) -> None:
    torch.set_num_threads(1)
    done = 0

    def report(_step: int, _values: dict) -> None:
        nonlocal done
        done += 1
        if done == steps:
            os.kill(os.getpid(), signal.SIGKILL)

    train(TinySpec(), spec, Squares(), folder, progress=False, hooks=Hooks(report=report))


def spend(folder: str, steps: int | None, seconds: float | None = None, spec: TrainSpec = SPEC) -> int:
    """One life of so many steps or seconds; returns the signal that ended it, or 0."""
    child = os.fork()
    if child == 0:
        live(folder, steps, spec)
        os._exit(0)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)  # of a process that has ended and was not yet waited for, too
    _, status = os.waitpid(child, 0)
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else -os.WEXITSTATUS(status)


def at_random(folder: str, deaths: int) -> None:
    """Kills a run of 200 steps `deaths` times, at any moment of the time that it takes; prints its lives."""
    spec = SPEC.override({"steps": 200, "checkpoint_every": 3})
    began = time.monotonic()
    spend(f"{folder}/whole", None, spec=spec)
    whole = time.monotonic() - began
    lives, at = [], []
    for _ in range(deaths):
        lives.append(spend(f"{folder}/killed", None, random.uniform(0.05, 2.5 * whole / deaths), spec))
        checkpoint = f"{folder}/killed/checkpoint.pt"
        read = os.path.exists(checkpoint) and torch.load(checkpoint, weights_only=True)["step"]
        at.append(int(read))
    lives.append(spend(f"{folder}/killed", None, spec=spec))
    logs = [open(f"{folder}/{name}/metrics.jsonl", "rb").read() for name in ("whole", "killed")]
    print(*lives)
    print("checkpoints at", *at)
    print("the same" if logs[0] == logs[1] else "not the same")


if __name__ == "__main__":
    folder, *rest = sys.argv[1:]
    if rest[:1] == ["--random"]:
        at_random(folder, int(rest[1]))
    else:
        print(*(spend(f"{folder}/killed", steps) for steps in [*map(int, rest), None]))
        print(spend(f"{folder}/whole", None))
