import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import tables
from bench import mini, pool
from bench.cells import row_spec
from bench.data.transforms import AugmentSpec
from bench.errors import UserError
from bench.mini import Budget, Setting, shrink
from bench.mini.work import majority_score
from bench.records import Store
from bench.train import Trainer
from models.attention import HRCASpec, MaskedAttentionSpec
from models.queries import DFPQSpec, LearnableQueriesSpec

ROOT = Path(__file__).resolve().parents[3]
TINY = Budget(name="tiny", steps=3, batch=1, train_images=4, eval_images=2, seeds=2)


@pytest.fixture(scope="module")
def record():
    return tables.load("faseg", "4")


@pytest.fixture(scope="module")
def small(record):
    return [shrink(row_spec(row, "ade20k")) for row in record.rows]


def test_shrinking_keeps_what_the_rows_are_about(record, small):
    for row, spec in zip(record.rows, small, strict=True):
        full = row_spec(row, "ade20k")
        for field in ("schedule", "attention", "high_resolution", "queries", "positions"):
            assert getattr(spec.decoder, field) == getattr(full.decoder, field), (row.number, field)
        assert spec.pixel_decoder.positions == full.pixel_decoder.positions
        assert spec.num_classes == 150
    assert [type(spec.decoder.queries) for spec in small] == [
        LearnableQueriesSpec, DFPQSpec, LearnableQueriesSpec, DFPQSpec,
    ]  # fmt: skip
    assert [spec.decoder.high_resolution is not None for spec in small] == [False, False, True, True]
    assert isinstance(small[3].decoder.attention, MaskedAttentionSpec) and isinstance(
        small[3].decoder.high_resolution, HRCASpec
    )


def test_shrinking_makes_every_row_small_and_alike(small):
    counts = [sum(p.numel() for p in spec.build("meta").parameters()) for spec in small]
    assert all(500_000 < count < 1_300_000 for count in counts)
    assert len({spec.backbone for spec in small}) == len({spec.loss for spec in small}) == 1


def test_every_row_trains_on_the_same_data_in_the_same_order():
    first, second = (Setting().train_spec(TINY, seed) for seed in (0, 1))
    assert first.override({"seed": 1}) == second
    assert first.augment == AugmentSpec(flip=0.5) and first.backbone_lr_factor == 1.0


def test_budgets_grow():
    small, medium, large = (mini.budget_named(name) for name in ("small", "medium", "large"))
    images = [budget.steps * budget.batch for budget in (small, medium, large)]
    assert images[0] < images[1] < images[2] and small.seeds >= 3
    assert (small.steps, small.batch, small.train_images, small.eval_images) == (150, 1, 400, 50)
    with pytest.raises(UserError, match="no budget 'smal'.*small"):
        mini.budget_named("smal")


def test_majority_class_scores_what_it_should():
    score = majority_score(Setting(), TINY)
    present = 12  # a constant map scores its own class only
    assert 100 * 0.1 / present < score < 100 * 0.6 / 4


def test_run_gives_every_row_and_reuses_and_resumes(record, tmp_path):
    store = Store(tmp_path)
    result = mini.run(record, [1, 4], TINY, seeds=1, store=store, progress=False, workers=2)
    assert [entry["row"] for entry in result["rows"]] == [1, 4]
    assert result["dataset"] == "embedded" and result["budget"]["name"] == "tiny"
    for entry in result["rows"]:
        assert len(entry["scores"]) == len(entry["untrained"]) == 1
        assert 0 < entry["scores"][0] <= 100 and 0 < entry["untrained"][0] <= 100
    assert result["rows"][0]["majority"] == result["rows"][1]["majority"] > 0
    assert not list((tmp_path / "mini").iterdir())  # run folders go when their record is kept
    began = time.monotonic()
    assert mini.run(record, [1, 4], TINY, seeds=1, store=Store(tmp_path), progress=False) == result
    assert time.monotonic() - began < 1.0


@pytest.mark.parametrize(
    ("failure", "told"),
    [(UserError("at fault"), UserError), (OSError(28, "full"), OSError), (KeyError("x"), RuntimeError)],
)
def test_an_error_in_a_worker_comes_out(failure, told):
    def perform(job, report):
        report(7)
        raise failure

    ours, theirs = multiprocessing.Pipe()
    ours.send(SimpleNamespace(label="row 3"))
    worker = threading.Thread(target=pool._work, args=(theirs, perform))
    worker.start()
    assert pool._receive(ours, None, None) == ("step", 7)
    with pytest.raises(told, match="row 3 failed" if told is RuntimeError else None):
        pool._receive(ours, None, None)
    ours.close()
    worker.join(timeout=10)
    assert not worker.is_alive()  # the parent is gone, so is the worker


def test_a_killed_run_leaves_no_worker(tmp_path):
    code = (
        "import tables\nfrom bench import mini\nfrom bench.records import Store\n"
        "if __name__ == '__main__':\n"
        "    budget = mini.Budget(name='long', steps=9999, batch=1, train_images=4, eval_images=1, seeds=1)\n"
        "    record = tables.load('faseg', '4')\n"
        f"    mini.run(record, [1], budget, store=Store({str(tmp_path)!r}), progress=False)\n"
    )
    (tmp_path / "main.py").write_text(code)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    parent = subprocess.Popen([sys.executable, str(tmp_path / "main.py")], env=environment)
    metrics = wait_for(lambda: next(tmp_path.glob("mini/*/metrics.jsonl"), None))
    wait_for(lambda: metrics.stat().st_size > 0)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    time.sleep(1.0)
    size = wait_for(lambda: settled(metrics), seconds=20)
    assert size and metrics.read_text().count("\n") < 9999


def settled(path, pause=2.0):
    """The size of a file that nobody writes to any more."""
    before = path.stat().st_size
    time.sleep(pause)
    return before if path.stat().st_size == before else None


def wait_for(look, seconds=90):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.1)
    raise AssertionError("waited in vain")


@pytest.mark.slow
def test_the_full_faseg_learns_two_images(small):
    """A short version of the overfitting check: `bench train --table faseg/4 --mini --overfit 8`."""
    from bench.data import open_dataset
    from bench.data.loader import TrainLoader
    from bench.data.transforms import TrainTransform
    from bench.evaluate import evaluate
    from bench.train.recipes import overfit_recipe

    data = open_dataset("embedded", length=2)
    spec = overfit_recipe(2).override({"steps": 60})
    torch.manual_seed(0)
    trainer = Trainer(small[3].override({"num_classes": 12}).build(), spec)
    loader = TrainLoader(data, TrainTransform(spec.augment), spec.batch, spec.seed)
    for step in range(spec.steps):
        trainer.step(step, loader.batch(step))
    assert evaluate(trainer.model, data, "semantic")["mIoU"] > 50
