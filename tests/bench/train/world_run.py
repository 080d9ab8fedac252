"""`torchrun ... world_run.py FOLDER LIFE...`: lives of one small run in these processes, one after another.

A life is "whole" or "same" (to the end, in the folder of that name), "kill" (in FOLDER/same; SIGKILL ends the
last process before step 5) or "term" (the same with SIGTERM, which all processes heed). The first process
prints how each life ended, by a line.
"""

import os
import signal
import sys

import torch

from bench.data.transforms import AugmentSpec
from bench.train import Hooks, TrainSpec, train
from bench.train.distributed import processes
from bench.train.signals import Signals, Stopped
from tests.bench.train.tiny import TinySpec
from tests.bench.train.toy import Squares

SPEC = TrainSpec(steps=8, batch=4, lr=1e-3, checkpoint_every=3, augment=AugmentSpec(flip=0.5), seed=3)
DEATHS = {"kill": signal.SIGKILL, "term": signal.SIGTERM}


def live(folder, life, world):
    asked, signals = 0, Signals()

    def stop():
        nonlocal asked
        asked += 1
        if life in DEATHS and asked == 5 and world.rank == world.size - 1:
            os.kill(os.getpid(), DEATHS[life])
        return signals()

    out = f"{folder}/{'whole' if life == 'whole' else 'same'}"
    evaluate = lambda model: {"training": float(model.training)}  # noqa: E731
    try:
        with signals.caught():
            train(
                TinySpec(), SPEC, Squares(), out, progress=False, hooks=Hooks(stop=stop, evaluate=evaluate),
                world=world,
            )  # fmt: skip
    except Stopped as stopped:
        return f"{stopped}, status {stopped.status}"
    return "finished"


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder, *lives = sys.argv[1:]
    with processes(torch.device("cpu")) as world:
        for life in lives:
            ended = live(folder, life, world)
            if world.first:
                print(life, ended, flush=True)
