import dataclasses
import errno
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bench.data.transforms import AugmentSpec
from bench.errors import UserError
from bench.train import Hooks, NonFiniteLoss, TrainSpec, train
from bench.train.checkpoint import read_checkpoint
from bench.train.folder import RunFolder
from tests.bench.train import killed_run
from tests.bench.train.tiny import TinySpec
from tests.bench.train.toy import Squares

ROOT = Path(__file__).resolve().parents[3]
SPEC = TrainSpec(steps=6, batch=2, lr=1e-3, checkpoint_every=2, augment=AugmentSpec())


def run(out, spec=SPEC, model=None, **options):
    return train(model or TinySpec(), spec, Squares(), out, progress=False, **options)


def test_killed_runs_continue_to_the_same_bits(tmp_path):
    deaths = [str(random.SystemRandom().randint(1, 9)) for _ in range(4)]
    command = [sys.executable, killed_run.__file__, str(tmp_path), *deaths]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["9 9 9 9 0", "0"], (deaths, done.stderr)
    metrics = [(tmp_path / name / "metrics.jsonl").read_bytes() for name in ("killed", "whole")]
    assert metrics[0] == metrics[1], f"killed after {deaths} further steps"
    assert [json.loads(line)["step"] for line in metrics[0].splitlines()] == list(
        range(killed_run.SPEC.steps)
    )
    weights = [read_checkpoint(tmp_path / name / "checkpoint.pt")["model"] for name in ("killed", "whole")]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[1])


def test_stopping_between_steps_changes_nothing_and_a_finished_run_is_kept(tmp_path):
    def stop(step, _values):
        if step == 5:
            raise KeyboardInterrupt

    whole = run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "stopped", hooks=Hooks(report=stop))
    assert run(tmp_path / "stopped").metrics == whole.metrics
    before = (tmp_path / "whole" / "metrics.jsonl").stat().st_mtime_ns
    again = run(tmp_path / "whole", hooks=Hooks(report=lambda *_: pytest.fail("trained again")))
    assert again.metrics == whole.metrics and not again.model.training
    assert (tmp_path / "whole" / "metrics.jsonl").stat().st_mtime_ns == before
    parameters = zip(again.model.parameters(), whole.model.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in parameters)


def test_seeds_differ_and_fresh_starts_over(tmp_path):
    first = run(tmp_path)
    other = dataclasses.replace(SPEC, seed=1)
    with pytest.raises(UserError, match=r"another run \(train.seed: 0, now 1\)"):
        run(tmp_path, other)
    second = run(tmp_path, other, resume=False)
    assert len(second.metrics) == 6
    assert [line["loss"] for line in first.metrics] != [line["loss"] for line in second.metrics]


def test_a_run_without_a_checkpoint_does_not_block_its_folder(tmp_path):
    def stop(_step, _values):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, hooks=Hooks(report=stop))
    assert (tmp_path / "spec.json").exists() and not (tmp_path / "checkpoint.pt").exists()
    events = (tmp_path / "events.jsonl").read_text()
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, hooks=Hooks(report=stop))
    assert (tmp_path / "events.jsonl").read_text().startswith(events)
    other = dataclasses.replace(SPEC, seed=1)
    assert run(tmp_path, other).metrics == run(tmp_path / "other", other).metrics
    assert RunFolder(tmp_path).description()["train"]["seed"] == 1


def test_another_model_in_the_folder_is_refused(tmp_path):
    run(tmp_path)
    with pytest.raises(UserError, match="model.num_queries: 8, now 9"):
        run(tmp_path, model=TinySpec(num_queries=9))


def test_evaluation_is_part_of_the_metrics(tmp_path):
    spec = dataclasses.replace(SPEC, eval_every=4)
    modes = []

    def evaluate(model):
        modes.append(model.training)
        return {"mIoU": 12.5}

    metrics = run(tmp_path, spec, hooks=Hooks(evaluate=evaluate)).metrics
    assert [line["step"] for line in metrics if "evaluation" in line] == [3, 5]
    assert metrics[3]["evaluation"] == {"mIoU": 12.5} and modes == [False, False]


def test_initial_weights_are_loaded_once(tmp_path):
    calls = []

    def initialise(model):
        calls.append(True)
        torch.nn.init.constant_(model.classify.bias, 0.25)

    run(tmp_path / "a", hooks=Hooks(initialise=initialise))
    run(tmp_path / "a", hooks=Hooks(initialise=initialise))
    assert len(calls) == 1
    assert run(tmp_path / "a").metrics[0]["class"] != run(tmp_path / "b").metrics[0]["class"]


def test_non_finite_loss_stops_the_run_and_keeps_the_checkpoint(tmp_path):
    def poison(step, _values):
        if step == 3:  # step 3 is the next
            with torch.no_grad():
                models[0].classify.weight[0, 0] = float("nan")

    models = []
    hooks = Hooks(initialise=models.append, report=poison)
    with pytest.raises(NonFiniteLoss, match="step 3: .*class_logits"):
        run(tmp_path, hooks=hooks)
    assert read_checkpoint(tmp_path / "checkpoint.pt")["step"] == 2
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 3


def test_a_full_disk_keeps_the_older_checkpoint(tmp_path, monkeypatch):
    spec = dataclasses.replace(SPEC, steps=8)
    monkeypatch.setattr("bench.train.checkpoint.open", FullDisk, raising=False)
    monkeypatch.setattr(FullDisk, "room", 1 << 40)

    def fill(step, _values):
        FullDisk.room = 5000 if step >= 4 else FullDisk.room

    with pytest.raises(OSError) as raised:
        run(tmp_path, spec, hooks=Hooks(report=fill))
    assert raised.value.errno == errno.ENOSPC and raised.value.filename == str(tmp_path / "checkpoint.pt")
    assert read_checkpoint(tmp_path / "checkpoint.pt")["step"] == 2
    assert not [p.name for p in tmp_path.iterdir() if p.name.startswith(".")]
    FullDisk.room = 1 << 40
    assert run(tmp_path, spec).metrics == run(tmp_path / "whole", spec).metrics


class FullDisk:
    """A file that takes `room` more bytes."""

    room = 0

    def __init__(self, path, mode):
        self.file = open(path, mode)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def write(self, data):
        if len(data) > FullDisk.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        FullDisk.room -= len(data)
        return self.file.write(data)

    def flush(self):
        self.file.flush()


@pytest.mark.parametrize("content", [b"", b"nonsense", b"PK\x03\x04 cut short"])
def test_damaged_checkpoint_is_named(tmp_path, content):
    run(tmp_path)
    (tmp_path / "checkpoint.pt").write_bytes(content)
    with pytest.raises(UserError, match="checkpoint.pt cannot be read as a checkpoint"):
        run(tmp_path)


def test_checkpoint_is_never_executed(tmp_path):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "sprung",))

    torch.save({"format": 1, "trap": Trap()}, tmp_path / "checkpoint.pt")
    with pytest.raises(UserError, match="cannot be read"):
        read_checkpoint(tmp_path / "checkpoint.pt")
    assert not (tmp_path / "sprung").exists()


def test_two_processes_do_not_share_a_folder(tmp_path):
    run(tmp_path)
    with RunFolder(tmp_path).locked():
        with pytest.raises(UserError, match="another process is training"):
            run(tmp_path)


def test_time_adds_up_over_lives(tmp_path):
    folder = RunFolder(tmp_path)
    folder.note("start", step=0)
    folder.note("checkpoint", step=2, seconds=1.5)
    folder.note("start", step=2)
    folder.note("stop", step=4, seconds=2.0)
    assert folder.seconds() == 3.5


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(UserError, match="not the folder of a run"):
        RunFolder(tmp_path).description()
