"""Several processes compute what one does; what stops one stops all, and the run goes on after that."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from bench.data.loader import Batch
from bench.errors import UserError
from bench.train import TrainSpec
from bench.train.checkpoint import read_checkpoint
from bench.train.distributed import ALONE, World, launched, local_device
from bench.train.run import share_of
from bench.train.whole_batch import agree
from models.outputs import MaskTarget
from models.points import ImagePoints, of_images, uniform_points
from tests.bench.train import ddp_run, systems, world_run

ROOT = Path(__file__).resolve().parents[3]


def launch(script, *arguments, processes=2):
    """Runs a script in so many processes, as `torchrun` would but sooner; returns what the first one
    wrote."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"PYTHONPATH": str(ROOT), "WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1"}
    started = [
        subprocess.Popen(
            [sys.executable, script, *map(str, arguments)], text=True,
            env=os.environ | common | {"MASTER_PORT": str(port), "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for rank in range(processes)
    ]  # fmt: skip
    ended = [process.communicate(timeout=300) for process in started]
    assert all(process.returncode == 0 for process in started), "\n".join(err for _, err in ended)
    return ended[0][0]


def test_two_processes_compute_what_one_does_for_every_system():
    """And with accumulation and checkpointing, where a process has no objects, where it has lower images."""
    settings = ["accumulate=2", "checkpointing=true"]
    found = json.loads(launch(ddp_run.__file__, "double", 3, *settings))
    assert set(found) == {*systems.PRESETS, systems.TINY}
    for name, differences in found.items():
        assert differences["losses"] < 1e-6 and differences["norms"] < 1e-8, name
        assert differences["weights"] < 1e-9, name


def test_a_process_that_dies_ends_the_run_which_goes_on_to_the_same_losses(tmp_path):
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    began = time.monotonic()
    command = [*torchrun, world_run.__file__, str(tmp_path), "whole", "kill", "same"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode != 0 and done.stdout.splitlines() == ["whole finished"], done.stderr
    assert time.monotonic() - began < 200  # far less than the ten minutes of a silent peer
    assert read_checkpoint(tmp_path / "same" / "checkpoint.pt")["step"] == 3
    lives = launch(world_run.__file__, tmp_path, "term", "same").splitlines()
    assert lives == ["term stopped by SIGTERM after step 7, status 143", "same finished"]
    metrics = [(tmp_path / name / "metrics.jsonl").read_bytes() for name in ("whole", "same")]
    assert metrics[0] == metrics[1] and metrics[0].count(b"\n") == world_run.SPEC.steps
    assert json.loads(metrics[0].splitlines()[-1])["evaluation"] == {"training": 0.0}
    weights = [read_checkpoint(tmp_path / name / "checkpoint.pt")["model"] for name in ("whole", "same")]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    events = [json.loads(line) for line in (tmp_path / "same" / "events.jsonl").read_text().splitlines()]
    assert [event["processes"] for event in events if event["event"] == "start"] == [2, 2, 2]


def test_a_batch_that_cannot_be_shared_is_refused():
    with pytest.raises(UserError, match="batch = 4 cannot be divided by 2 processes x accumulate = 4"):
        share_of(TrainSpec(batch=4, accumulate=4), World(0, 2))
    assert share_of(TrainSpec(batch=8, accumulate=4), World(1, 2)) == 4


class Told(World):
    """Two processes, of which the other one says what it is given."""

    other = [64, 32, False, 1, 7, 0]

    def gather(self, values):
        return [list(values), self.other]


def test_what_processes_must_know_of_each_other():
    labels = torch.tensor([3, 5])
    batch = Batch(torch.ones(1, 3, 32, 64), [MaskTarget(labels, torch.ones(2, 32, 64, dtype=torch.bool))])
    padded, everyone = agree(batch, Told(0, 2))
    assert padded.images.shape == (1, 3, 64, 64) and padded.sizes == [(32, 64)]
    assert padded.images[:, :, 32:].sum() == 0 and padded.targets[0].masks[:, :32].all()
    assert not padded.targets[0].masks[:, 32:].any()
    assert [target.labels.tolist() for target in everyone] == [[3, 5], [7], []]
    assert agree(batch, ALONE) == (batch, batch.targets)


def test_a_process_is_given_its_own_gpu(monkeypatch):
    assert not launched() and local_device(None) is None
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "3")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert local_device(None) == local_device("cuda") == "cuda:3"
    assert local_device("cpu") == "cpu" and local_device("cuda:1") == "cuda:1"


def test_points_of_an_image_do_not_depend_on_the_other_images():
    both, second = ImagePoints(), ImagePoints()
    both.start([11, 12])
    second.start([12])
    cpu = torch.device("cpu")
    drawn = [both.of({0: 2, 1: 3})(5, 7, cpu), both.of({1: 1})(1, 4, cpu)]
    assert torch.equal(drawn[0][2:], second.of({0: 3})(3, 7, cpu))
    assert torch.equal(drawn[1], second.of({0: 1})(1, 4, cpu))
    assert len({*drawn[0].flatten().tolist()}) == 70 and drawn[0].min() >= 0 and drawn[0].max() < 1
    both.start([11, 12])
    assert torch.equal(both.of({0: 2, 1: 0})(2, 7, cpu), drawn[0][:2])
    assert of_images(uniform_points, {0: 1}) is uniform_points
