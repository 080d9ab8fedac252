"""Where mini replications take place: data in memory, backbones, what the record's key depends on."""

import json
from dataclasses import replace
from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image

import tables
from bench import mini
from bench.data import open_dataset
from bench.errors import UserError
from bench.mini import Setting, small_spec
from bench.mini.arenas import ARENAS
from bench.mini.budgets import Budget
from bench.mini.memory import InMemory, Scaled
from bench.mini.shrink import BACKBONE
from bench.records import Store
from bench.tasks import fit_classes
from bench.train import train
from models.official import CheckpointError

TINY = Budget(name="tiny", steps=2, batch=1, train_images=3, eval_images=2, seeds=1)


@pytest.fixture
def root(tmp_path) -> str:
    """A CamVid of three images a split, half road and half sky, with a void corner."""
    for split in ("train", "val"):
        for kind in ("images", "masks"):
            (tmp_path / "camvid" / split / kind).mkdir(parents=True)
        for number in range(3):
            labels = numpy.full((360, 480), 3, numpy.uint8)
            labels[: 100 + 20 * number] = 0
            labels[:10, :10] = 11
            noise = numpy.random.default_rng(number).integers(0, 40, (360, 480, 3), numpy.uint8)
            pixels = noise + 50 * labels[..., None]
            Image.fromarray(pixels).save(tmp_path / "camvid" / split / "images" / f"{number}.png")
            Image.fromarray(labels).save(tmp_path / "camvid" / split / "masks" / f"{number}.png")
    return str(tmp_path / "camvid")


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> str:
    """A file as published: tensors of EfficientNet-Lite0 in order, under other names."""
    import timm

    torch.manual_seed(0)
    state = timm.create_model("tf_efficientnet_lite0").state_dict()
    path = tmp_path_factory.mktemp("weights") / "lite0.pth"
    torch.save({f"tensor{number}": value for number, value in enumerate(state.values())}, path)
    return str(path)


def test_images_are_scaled_once(root):
    dataset = open_dataset("camvid", root, split="train")
    small = InMemory(Scaled(dataset, (180, 240), 2))
    assert len(small) == 2 and small[1] is small[1]
    assert small[1].image.shape == (3, 180, 240) and small[1].semantic.shape == (180, 240)
    assert set(small[1].semantic.unique().tolist()) == {0, 3, 255}  # nothing between road and sky
    assert (small[1].semantic == 0).sum() + (small[1].semantic == 255).sum() == 240 * 60
    reds = small[1].image[0].float()
    assert reds[100:].mean() - reds[:50].mean() == pytest.approx(150, abs=2)
    with pytest.raises(IndexError):
        small[2]
    assert len(Scaled(dataset, (180, 240), 400)) == 3
    sums = [
        Scaled(dataset, size, n).checksum() for size, n in (((180, 240), 2), ((180, 241), 2), ((180, 240), 1))
    ]
    assert len(set(sums)) == 3 and len(sums[0]) == 16


def test_the_embedded_arena_is_what_it_was():
    setting = Setting()
    train = setting.train_spec(TINY, 4)
    assert (train.lr, train.backbone_lr_factor, train.clip, train.amp, train.seed) == (
        2e-3,
        1.0,
        1.0,
        "off",
        4,
    )
    assert setting.learner.spec == BACKBONE and setting.arena.protocol == "mini/embedded-v1"
    training, evaluation = setting.datasets(TINY)
    assert training.checksum() == open_dataset("embedded", split="train", length=3, size=192).checksum()
    assert evaluation.checksum() == open_dataset("embedded", split="val", length=2, size=192).checksum()
    assert setting.backbone() == {
        "text": "a small ResNet from random weights",
        "weights": None,
        "sha256": None,
    }


def test_pretrained_weights_stay_as_they_are(root, weights):
    scratch, pretrained = (
        Setting(data="camvid", root=root),
        Setting(data="camvid", root=root, weights=weights),
    )
    assert scratch.learner.spec == BACKBONE
    train = pretrained.train_spec(TINY, 0)
    assert (train.lr, train.clip, train.augment.crop) == (2e-3, 1.0, (160, 224))
    assert pretrained.learner.spec["weights"] == weights
    about = pretrained.backbone()
    assert about["weights"] == "lite0.pth" and len(about["sha256"]) == 64 and "/" not in json.dumps(about)
    pretrained.require(TINY)


def test_every_row_gets_the_backbone_of_the_setting(root, weights):
    setting = Setting(data="camvid", root=root, weights=weights)
    for paper, table in (("faseg", "6"), ("mask2former", "4a"), ("pft", "viii")):
        specs = [small_spec(row, setting) for row in tables.load(paper, table).rows]
        assert (
            len({spec.backbone for spec in specs}) == 1 and specs[0].backbone.name == "tf_efficientnet_lite0"
        )
        assert len(set(specs)) == len(specs)  # what the rows are about is still there
        assert all("semantic" in spec.build("meta").inference.tasks for spec in specs)


def test_the_stop_of_the_attention_loss_is_a_share_of_the_run():
    """PFT Table VIII: 40k, 80k, 120k, 160k of 160k iterations; the trainer tells the loss how far it is."""
    stops = [small_spec(row).loss.attention for row in tables.load("pft", "viii").rows]
    assert stops[0] is None and [spec.stop for spec in stops[2:]] == [0.75, 0.25, 0.5, 1.0]


def test_the_attention_loss_stops_in_a_small_run(root, tmp_path):
    setting = Setting(data="camvid", root=root)
    training, _ = setting.datasets(TINY)
    spec = setting.train_spec(TINY, 0).override({"steps": 4})
    for row, steps in ((1, 0), (4, 1), (5, 2), (6, 4)):
        model = fit_classes(small_spec(tables.load("pft", "viii").row(row), setting), training.info)
        lines = train(model, spec, training, tmp_path / str(row), device="cpu", progress=False).metrics
        told = [any("attention" in name for name in flat(line)) for line in lines]
        assert told == [step < steps for step in range(4)], row


def flat(line: dict) -> set[str]:
    """The names in a line of metrics, those of its parts too."""
    return {
        name for key, value in line.items() for name in ([key, *value] if isinstance(value, dict) else [key])
    }


BAD = [
    ({"data": "cityscapes"}, "no mini replication on 'cityscapes'"),
    ({"data": "camvid", "weights": "nowhere.pth"}, "nowhere.pth: no such file.*tf_efficientnet_lite0"),
    ({"weights": __file__}, "embedded train their backbone from random weights"),
]


@pytest.mark.parametrize(("given", "says"), BAD)
def test_settings_that_cannot_be(given, says):
    with pytest.raises(UserError, match=says):
        Setting(**given)


def test_data_and_weights_are_looked_at_before_anything_is_trained(tmp_path, root):
    with pytest.raises(UserError, match="camvid"):
        Setting(data="camvid").require(TINY)
    with pytest.raises(UserError, match="camvid"):
        Setting(data="camvid", root=str(tmp_path / "nothing")).require(TINY)
    with pytest.raises(UserError, match="takes no root"):
        Setting(root=root).require(TINY)
    torch.save({"a": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="do not pair in order"):
        Setting(data="camvid", root=root, weights=str(tmp_path / "other.pth")).require(TINY)
    with pytest.raises(UserError, match="no budget 'smal'"):
        Setting(data="camvid", root=root).budget("smal")


def test_rows_that_give_no_semantic_results_are_refused():
    record = tables.load("panoptic_segformer", "8")
    row = next(row for row in record.rows if row.preset)
    with pytest.raises(UserError, match=f"row {row.number} .*gives no semantic results: its presets are"):
        small_spec(row)


def test_a_run_on_camvid_tells_what_it_was_made_of(root, tmp_path, monkeypatch):
    monkeypatch.setattr(mini, "run_jobs", run_here)
    record, setting = tables.load("faseg", "6"), Setting(data="camvid", root=root)
    twin = replace(record.row(4), number=2)
    record = replace(record, rows=(replace(record.row(4), number=1), twin))
    result = mini.run(record, [1, 2], TINY, store=Store(tmp_path / "store"), progress=False, setting=setting)
    assert (result["dataset"], result["protocol"], result["seeds"]) == ("camvid", "mini/camvid-v1", [0])
    assert result["data_checksum"].count("/") == 1 and "random" in result["backbone"]["text"]
    first, second = result["rows"]
    assert second["same_as"] == 1 and first["scores"] == second["scores"] and "same_as" not in first
    assert result["cpu_seconds"] > 0 and str(Path(root)) not in json.dumps(result)


def run_here(jobs, perform, report, workers):
    """Instead of worker processes."""
    assert len({job.key for job in jobs}) == len(jobs)
    for job in jobs:
        yield job, perform(job, lambda step, job=job: report(job, step))


def test_a_record_belongs_to_its_weights_not_to_their_path(root, weights, tmp_path):
    moved = tmp_path / "moved.pth"
    moved.write_bytes(Path(weights).read_bytes())
    other = tmp_path / "other.pth"
    other.write_bytes(Path(weights).read_bytes() + b"\n")
    record, store = tables.load("faseg", "4"), Store(tmp_path)
    files = (None, weights, str(moved), str(other))
    keys = [
        mini._job(record, 1, 0, Setting(data="camvid", root=root, weights=file), TINY, store).key
        for file in files
    ]
    assert keys[1] == keys[2] and len(set(keys)) == 3


def test_arenas_have_protocols_of_their_own():
    assert {arena.protocol for arena in ARENAS.values()} == {"mini/embedded-v1", "mini/camvid-v1"}
