"""Evaluation at scale: shares of processes, a kill, the store."""

import functools
import json
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bench.data import open_dataset
from bench.data.base import SegmentationDataset
from bench.errors import UserError
from bench.evaluate import TestSpec, evaluate, predict
from bench.evaluate.predict import predict_panoptic
from bench.evaluate.run import run
from bench.evaluate.shard import Evaluation, World
from bench.evaluate.subset import Subset
from bench.evaluate.tallies import TallyFolder
from bench.records import Store
from bench.tasks import TaskView
from models import preset, to_official

ROOT = Path(__file__).resolve().parents[3]
SMALL = {
    "num_classes": 12, "backbone.width": 8, "backbone.layers": [1, 1, 1, 1], "decoder.schedule": [32],
    "decoder.num_queries": 10, "pixel_decoder.layers": 1, "inference.object_threshold": 0.0,
    "inference.overlap_threshold": 0.0,
}  # fmt: skip
IMAGES = 5


def evaluation(task="panoptic", images=IMAGES):
    return Evaluation(model=spec(), weights=weights(), dataset=Subset(echo(), images), task=task)


def spec():
    return preset("mask2former_r50_ade20k").override(SMALL)


@functools.cache
def weights():
    """A released file of wild weights, whose queries see different things; the same file in every process."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = spec().build()
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.data.normal_(0, 2 * parameter[0].numel() ** -0.5)
    path = Path(tempfile.mkdtemp(prefix="maskbench-test-")) / "wild.pth"
    torch.save(to_official(model), path)
    return path


@functools.cache
def echo():
    """Images labelled with what the model sees in them, moved by a pixel."""
    data = TaskView(open_dataset("embedded", size=(64, 96), split="val", length=IMAGES), "panoptic")
    model = Evaluation(model=spec(), weights=weights(), dataset=data, task="panoptic").network("cpu")[0]
    samples = []
    for sample in data:
        found = predict_panoptic(model, sample.image, data.info.things, TestSpec(), "cpu")
        semantic = torch.full(sample.size, 255, dtype=torch.uint8)
        for segment in found.segments:
            semantic[found.ids == segment.id] = segment.label
        things = torch.isin(semantic, torch.tensor(sorted(data.info.things), dtype=torch.uint8))
        instances = torch.where(things, found.ids, 0).int()
        samples.append(
            replace(sample, semantic=semantic.roll(1, dims=1), instances=instances.roll(1, dims=1))
        )
    return Kept(data.info, samples)


class Kept(SegmentationDataset):
    """Samples in memory."""

    split = "val"

    def __init__(self, info, samples):
        self.info, self.samples = info, samples

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        return self.samples[index]

    def checksum(self):
        return "kept"


class Dying(SegmentationDataset):
    """Interrupts the reader of one sample."""

    def __init__(self, data, at):
        self.data, self.at = data, at
        self.info, self.split, self.skipped = data.info, data.split, data.skipped

    def __len__(self):
        return len(self.data)

    def __getitem__(self, index):
        if index == self.at:
            raise KeyboardInterrupt
        return self.data[index]

    def checksum(self):
        return self.data.checksum()


@pytest.fixture(scope="module")
def expected():
    """The scores of each task, by the evaluation that knows no folder."""
    model = evaluation().network("cpu")[0]
    scores = {
        task: evaluate(model, evaluation().dataset, task) for task in ("semantic", "panoptic", "instance")
    }
    told = scores["semantic"]["mIoU"], scores["panoptic"]["PQ"], scores["instance"]["AP"]
    assert all(1 < score < 99 for score in told)
    return scores


def same(found, wanted):
    return repr(found) == repr(wanted)  # nan is nan


@pytest.mark.parametrize("task", ["semantic", "panoptic", "instance"])
def test_scores_are_those_of_one_pass(task, expected):
    done = []
    result = run(evaluation(task), Store(), advance=done.append)
    assert same(result.scores, expected[task]) and sum(done) == IMAGES
    assert "wild.pth" in result.weights and not result.remembered
    again = run(evaluation(task), Store())
    assert again.remembered and same(again.scores, expected[task])


def test_two_processes_find_what_one_does(tmp_path, expected):
    result = run(evaluation(), Store(), folder=tmp_path / "out", processes=2)
    assert same(result.scores, expected["panoptic"])
    files = {file.name: file.read_text().count("\n") for file in (tmp_path / "out").glob("tallies-*")}
    assert files == {"tallies-0-0.jsonl": 3, "tallies-0-1.jsonl": 2}
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert scores["PQ"] == expected["panoptic"]["PQ"] > 0


def test_what_was_done_before_an_interruption_is_not_done_again(tmp_path, expected, monkeypatch):
    broken = evaluation()
    broken = replace(broken, dataset=Dying(broken.dataset, 3))
    with pytest.raises(KeyboardInterrupt):
        run(broken, Store(), folder=tmp_path)
    tallies = tmp_path / "tallies-0-0.jsonl"
    assert [json.loads(line)["image"] for line in tallies.read_text().splitlines()] == [0, 1, 2]
    tallies.write_bytes(tallies.read_bytes() + b'{"image": 3, "categ')  # as a kill leaves it
    seen, pad = [], predict.pad_to_multiple
    monkeypatch.setattr(predict, "pad_to_multiple", lambda *args: seen.append(1) or pad(*args))
    result = run(evaluation(), Store(), folder=tmp_path)
    assert same(result.scores, expected["panoptic"])
    assert len(seen) == 1 + 2  # the hash of the first output, and the images that were left
    assert sorted(TallyFolder(tmp_path).done()) == list(range(IMAGES))


KILLED = """
import os, signal, sys
sys.path[:0] = [sys.argv[1], sys.argv[2]]
import test_run
from bench.evaluate.predict import predict_panoptic
from bench.evaluate.run import run
from bench.records import Store
done = []
def advance(images):
    done.append(images)
    if sum(done) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
run(test_run.evaluation(), Store(), folder=sys.argv[3], advance=advance)
"""


def test_a_killed_evaluation_continues_to_the_same_scores(tmp_path, expected):
    command = [sys.executable, "-c", KILLED, str(ROOT), str(Path(__file__).parent), str(tmp_path)]
    killed = subprocess.run(command, env={**os.environ}, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert list(TallyFolder(tmp_path).done()) == [0, 1]
    assert same(run(evaluation(), Store(), folder=tmp_path).scores, expected["panoptic"])


def test_scores_of_another_output_for_the_first_image_are_not_used(monkeypatch, expected):
    run(evaluation(), Store())
    monkeypatch.setattr("bench.evaluate.run.output_hash", lambda *_: "0" * 16)
    said = []
    result = run(evaluation(), Store(), say=said.append)
    assert not result.remembered and same(result.scores, expected["panoptic"])
    assert len(said) == 2 and all("0000000000000000 here" in line for line in said)
    assert "scores in the store are not used" in said[0] and "evaluated before is not used" in said[1]


def test_a_folder_of_another_evaluation_is_refused(tmp_path):
    run(evaluation(), Store(), folder=tmp_path)
    with pytest.raises(UserError, match=r"another evaluation \(data.checksum: .*choose another --out"):
        run(evaluation(images=4), Store(), folder=tmp_path)


def test_ranks_share_the_images():
    worlds = [World(rank, 3) for rank in range(3)]
    shares = [ranks.share(8, done={4}) for ranks in worlds]
    assert shares == [[0, 3, 6], [1, 7], [2, 5]]


def test_tallies_that_are_missing_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr("bench.evaluate.run._divide", lambda *_: None)
    with pytest.raises(UserError, match="lacks 5 of 5 images, such as number 0"):
        run(evaluation(), Store(), folder=tmp_path)


def test_an_evaluation_of_nothing_is_refused():
    with pytest.raises(UserError, match="no images to score"):
        run(evaluation(images=0), Store())


def test_a_changed_tally_is_told(tmp_path):
    run(evaluation(), Store(), folder=tmp_path)
    (file,) = tmp_path.glob("tallies-*.jsonl")
    file.write_bytes(b'{"image": 0}\n' + b"".join(file.read_bytes().splitlines(keepends=True)[1:]))
    Store().file.unlink()
    with pytest.raises(UserError, match="tallies that are not of this evaluation: KeyError"):
        run(evaluation(), Store(), folder=tmp_path)


def test_random_weights_are_the_same_in_every_process():
    state = torch.random.get_rng_state()
    first, second = (replace(evaluation(), weights=None).network("cpu")[0].state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert torch.equal(state, torch.random.get_rng_state())
