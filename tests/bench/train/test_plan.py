"""`train --dry-run`: what a training would be, without data."""

import re
from pathlib import Path

import pytest
import torch

import models
from bench.cli import main
from bench.errors import UserError
from bench.mini.shrink import shrink
from bench.train import plan as planning
from bench.train.plan import Plan, convolution_rate, largest_size, predicted_memory, time_words, typical_size
from bench.train.recipes import train_recipe
from bench.train.spec import TrainSpec

TABLES = sorted(Path(__file__).resolve().parents[3].glob("tables/*/table*.toml"))


def plan_of(preset, dataset, task="semantic", **changes):
    model = models.preset(preset)
    run = train_recipe(dataset, model, task).override(changes)
    return Plan(label="it", preset=preset, dataset=dataset, model=model, run=run)


@pytest.fixture
def cheap(monkeypatch):
    """What takes seconds is left out."""
    monkeypatch.setattr(planning, "memory_words", lambda plan: f"of {plan.part} images")
    monkeypatch.setattr(planning, "time_words", lambda plan, device: "some")


def test_a_row_is_told_in_a_few_lines(cheap, capsys):
    assert main(["train", "--table", "faseg/4", "--row", "4", "--dry-run", "--processes", "4"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "faseg-table4-row4: faseg_r50_ade20k on ade20k, semantic",
        "  160,000 steps of 16 images, 4 processes: 126.7 epochs of 20,210 images",
        "  images cropped to 512x512; bf16 on CUDA, float32 elsewhere",
        "  lr 0.0001, poly 0.9, weight decay 0.05, clip 0.01",
        "  memory: of 4 images",
        "  time: some",
    ]


def test_every_row_of_every_table_that_has_a_model_has_a_plan(cheap, capsys):
    assert len(TABLES) > 50
    rows = 0
    for path in TABLES:
        table = f"{path.parent.name}/{path.stem.removeprefix('table')}"
        assert main(["train", "--table", table, "--dry-run"]) == 0, capsys.readouterr().err
        said = capsys.readouterr().out
        rows += said.count(" epochs of ")
        assert said.count("\n") == 6 * said.count(" epochs of ") and "nan" not in said
    assert rows > 300


@pytest.mark.parametrize(
    ("place", "steps", "rate"),
    [
        (["panoptic_segformer/1", "7"], "177,432 steps of 8 images: 12.0 epochs", "after 66.7 %"),
        (["panoptic_segformer/1", "8"], "354,864 steps of 8 images: 24.0 epochs", "after 75.0 %"),
        (["faseg/9", "5"], "265,500 steps of 16 images: 36.2 epochs", "after 88.9 % and 96.3 %"),
        (["panoptic_segformer/1", "3"], "554,700 steps of 64 images: 300.1 epochs", "after 66.7 %"),  # quoted
        (["mask2former/xia", "1"], "554,400 steps of 64 images: 300.0 epochs", "after 66.7 %"),  # 75*
    ],
)
def test_a_row_is_trained_for_its_printed_epochs(cheap, capsys, place, steps, rate):
    assert main(["train", "--table", place[0], "--row", place[1], "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert steps in said and rate in said


def test_printed_epochs_are_of_the_papers_data_set(cheap, capsys):
    command = ["train", "--table", "panoptic_segformer/1", "--row", "7", "--dry-run"]
    assert main([*command, "--dataset", "embedded"]) == 0
    assert "2,000 steps of 4 images" in capsys.readouterr().out
    assert main([*command, "--steps", "9"]) == 0
    assert "9 steps of 8 images" in capsys.readouterr().out


def test_a_plan_follows_the_options(cheap, capsys):
    changes = ["--set", "train.accumulate=2", "--set", "train.checkpointing=true", "--set", "train.amp=fp16"]
    command = ["train", "--preset", "detr_r50_coco_panoptic", "--dry-run", "--batch", "32", *changes]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "554,700 steps of 32 images, in 2 parts: 150.1 epochs of 118,287 images" in said
    assert "images up to 800x1333; fp16, activations recomputed" in said and "of 16 images" in said
    assert "x 0.1 after 66.7 %" in said
    assert main([*command, "--processes", "3"]) == 2
    assert "batch = 32 cannot be divided by 6" in capsys.readouterr().err


def test_sizes_of_images():
    assert largest_size(train_recipe("cityscapes", models.preset("faseg_r50_ade20k"))) == (512, 1024)
    run = train_recipe("coco", models.preset("detr_r50_coco_panoptic"), "panoptic")
    assert largest_size(run) == (800, 1333) and typical_size(run) == (640, 853)
    assert largest_size(TrainSpec(augment=plan_of("faseg_r50_ade20k", "embedded").run.augment)) == (192, 192)
    assert plan_of("faseg_r50_ade20k", "camvid").images == 367


def test_memory_is_predicted_and_extrapolated():
    small = plan_of("maskformer_r50_ade20k", "ade20k", batch=4, augment={"part": "augment", "crop": [64, 64]})
    small = Plan(**{**vars(small), "model": shrink(small.model.override({"num_classes": 4}))})
    said = predicted_memory(small)
    assert re.fullmatch(
        r"0\.\d GiB on a GPU for 4 images of 64x64, extrapolated from 1 and 2, bf16, 20 objects an image "
        r"\(memory/predicted-v1, our layers\)",
        said,
    )


def test_hours_are_those_of_the_arithmetic(monkeypatch):
    monkeypatch.setattr(planning, "forward_macs", lambda model, size: 10**11)
    monkeypatch.setattr(planning, "convolution_rate", lambda device, dtype: 2 * 10**14)
    said = time_words(plan_of("faseg_r50_ade20k", "ade20k"), torch.device("cuda"))
    assert said.startswith("at least 2.13 hours on 1 x cuda such as this one: 3 forwards of 512x512")
    assert 1e8 < convolution_rate(torch.device("cpu"), None) < 1e14


def test_without_data_one_line_says_where_to_get_it(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "--table", "faseg/4", "--row", "4"]) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1 and "--root" in error and "ade20k" in error.lower()
    assert not list(tmp_path.iterdir())


def test_a_batch_that_cannot_be_shared():
    with pytest.raises(UserError, match="batch = 16 cannot be divided by 3"):
        _ = Plan(**{**vars(plan_of("faseg_r50_ade20k", "ade20k")), "processes": 3}).part
