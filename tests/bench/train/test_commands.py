"""`train`, `eval` and `predict` as a user calls them."""

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

from bench.cli import main
from bench.data import open_dataset
from bench.options import model_changes, parse_change, train_changes
from models.inference import pad_to_multiple

MODEL = ["--preset", "mask2former_r50_ade20k", "--mini"]
EMBEDDED = ["--dataset", "embedded", "--overfit", "1"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of two steps."""
    out = tmp_path_factory.mktemp("runs") / "run"
    assert (
        main(["train", *MODEL, *EMBEDDED, "--steps", "2", "--set", "loss.points=64", "--out", str(out)]) == 0
    )
    return out


def test_training_says_what_it_does(trained, capsys):
    again = ["train", *MODEL, *EMBEDDED, "--steps", "2", "--set", "loss.points=64", "--out", str(trained)]
    before = (trained / "metrics.jsonl").read_bytes()
    assert main(again) == 0
    said = capsys.readouterr().out
    assert "2 steps of 1 images, seed 0" in said and "task: semantic; run folder: " in said
    assert "classes: 12, as embedded has (the preset: 150)" in said
    assert "mIoU " in said
    assert (trained / "metrics.jsonl").read_bytes() == before
    spec = json.loads((trained / "spec.json").read_text())
    assert (
        spec["model"]["loss"]["points"] == 64 and spec["train"]["lr"] == 2e-3 and spec["train"]["steps"] == 2
    )
    assert spec["dataset"]["classes"][0] == "sky"


def test_another_run_in_the_folder_is_refused(trained, capsys):
    other = ["train", *MODEL, *EMBEDDED, "--steps", "3", "--set", "loss.points=64", "--out", str(trained)]
    assert main(other) == 2
    error = capsys.readouterr().err
    assert "holds another run (train.steps: 2, now 3)" in error and len(error.splitlines()) == 1


def test_random_weights_are_named_and_train_options_apply(tmp_path, capsys):
    out = tmp_path / "run"
    changes = ["--set", "train.lr=3e-4", "--set", "train.schedule=constant", "--set", "loss.points=64"]
    assert main(["train", *MODEL, *EMBEDDED, "--steps", "1", "--seed", "5", *changes, "--out", str(out)]) == 0
    assert "weights: random" in capsys.readouterr().out
    line = json.loads((out / "metrics.jsonl").read_text())
    assert line["lr"] == 3e-4 and set(line["evaluation"]) > {"mIoU", "pixel_accuracy", "class_accuracy"}
    assert json.loads((out / "spec.json").read_text())["train"]["seed"] == 5


def test_evaluation_of_a_run(trained, capsys):
    assert main(["eval", "--run", str(trained), "--dataset", "embedded", "--limit", "2", "--json"]) == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert found["images"] == 2 and len(found["per_class"]) == 12 and found["skipped"] == []
    assert "step 2" in printed.err
    assert main(["eval", "--run", str(trained), "--dataset", "embedded", "--limit", "2"]) == 0
    assert f"mIoU{found['mIoU']:>28.2f}" in capsys.readouterr().out


def test_multi_scale_evaluation_shows_twelve_views(trained, capsys, monkeypatch):
    shown = []

    def pad(images, multiple):
        shown.append(tuple(images.shape[-2:]))
        return pad_to_multiple(images, multiple)

    monkeypatch.setattr("bench.evaluate.predict.pad_to_multiple", pad)
    command = [
        "eval",
        "--run",
        str(trained),
        "--dataset",
        "embedded",
        "--limit",
        "1",
        "--json",
        "--multi-scale",
    ]
    assert main(command) == 0
    assert shown.pop(0) == (96, 96)  # for the hash of the first output
    assert shown == [(side, side) for side in (96, 144, 192, 240, 288, 336) for _ in range(2)]


def test_weights_that_are_not_finite_are_named(trained, tmp_path, capsys):
    state = torch.load(trained / "checkpoint.pt", weights_only=True)
    state["model"]["decoder.head.classes.bias"][3] = float("nan")
    torch.save(state, tmp_path / "checkpoint.pt")
    (tmp_path / "spec.json").write_text((trained / "spec.json").read_text())
    assert main(["eval", "--run", str(tmp_path), "--dataset", "embedded", "--limit", "1"]) == 2
    error = capsys.readouterr().err
    assert "decoder.head.classes.bias is not finite" in error and len(error.splitlines()) == 1


@pytest.mark.parametrize(("task", "classes"), [("panoptic", 12), ("instance", 6)])
def test_every_task_is_trained_evaluated_and_predicted(task, classes, tmp_path, capsys):
    run, out = tmp_path / "run", tmp_path / "out"
    small = ["--steps", "1", "--set", "loss.points=64", "--set", "decoder.num_queries=8"]
    assert main(["train", *MODEL, "--task", task, *EMBEDDED, *small, "--out", str(run)]) == 0
    said = capsys.readouterr().out
    assert f"task: {task}" in said and re.search(r"(PQ|AP) \d+\.\d\d", said)
    spec = json.loads((run / "spec.json").read_text())
    assert spec["train"]["task"] == task and len(spec["dataset"]["classes"]) == classes
    assert main(["eval", "--run", str(run), "--dataset", "embedded", "--limit", "2", "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores["task"] == task and len(scores["per_class"]) == classes and scores["images"] == 2
    assert ("PQ_things" if task == "panoptic" else "AP50") in scores
    image = tmp_path / "picture.png"
    Image.new("RGB", (64, 64), "red").save(image)
    assert main(["predict", "--run", str(run), "--out", str(out), str(image)]) == 0
    assert (out / ("panoptic.json" if task == "panoptic" else "instances.json")).is_file()


def test_a_panoptic_model_is_scored_on_the_other_tasks(tmp_path, capsys):
    small = ["--set", "backbone.layers=[1,1,1,1]", "--set", "backbone.width=8", "--set", "num_classes=12"]
    command = ["eval", "--preset", "mask2former_r50_ade20k", *small, "--set", "decoder.schedule=[32]"]
    for task, score in (("semantic", "mIoU"), ("instance", "APm"), ("panoptic", "RQ_stuff")):
        assert main([*command, "--dataset", "embedded", "--limit", "1", "--task", task]) == 0
        assert re.search(rf"^{score} +(\d|–)", capsys.readouterr().out, re.MULTILINE)


def test_prediction_of_a_run(trained, tmp_path, capsys):
    sample = open_dataset("embedded", length=1, size=(100, 150))[0]
    image = tmp_path / "picture.jpg"
    Image.fromarray(sample.image.permute(1, 2, 0).numpy()).save(image)
    assert main(["predict", "--run", str(trained), "--out", str(tmp_path / "out"), str(image)]) == 0
    assert str(tmp_path / "out" / "picture_overlay.png") in capsys.readouterr().out
    semantic = Image.open(tmp_path / "out" / "picture_semantic.png")
    assert semantic.size == (150, 100) and semantic.mode == "P" and np.asarray(semantic).max() < 12
    overlay = Image.open(tmp_path / "out" / "picture_overlay.png")
    assert overlay.width > 300 and overlay.height > 100 and len(overlay.getcolors(1 << 24)) > 100


def test_prediction_of_a_broken_image_writes_nothing(trained, tmp_path, capsys):
    good, bad = tmp_path / "good.png", tmp_path / "bad.png"
    Image.new("RGB", (64, 64), "red").save(good)
    bad.write_bytes(good.read_bytes()[:60])
    assert main(["predict", "--run", str(trained), "--out", str(tmp_path / "out"), str(good), str(bad)]) == 2
    assert "bad.png" in capsys.readouterr().err and not (tmp_path / "out").exists()


@pytest.fixture
def camvid(tmp_path, monkeypatch):
    """Three labelled images, the second cut short."""
    for kind, size in (("images", (3,)), ("masks", ())):
        folder = tmp_path / "camvid" / "val" / kind
        folder.mkdir(parents=True)
        for name in "abc":
            Image.fromarray(np.full((64, 64, *size), 3, np.uint8)).save(folder / f"{name}.png")
    broken = tmp_path / "camvid" / "val" / "images" / "b.png"
    broken.write_bytes(broken.read_bytes()[:50])
    return tmp_path / "camvid"


def test_unreadable_files_are_named_or_skipped_and_counted(trained, camvid, capsys, monkeypatch):
    command = ["eval", "--preset", "mask2former_r50_cityscapes", "--dataset", "camvid", "--root", str(camvid)]
    small = {
        "backbone.layers": [1, 1, 1, 1],
        "backbone.width": 8,
        "num_classes": 11,
        "decoder.schedule": [32],
    }
    for path, value in small.items():
        command += ["--set", f"{path}={json.dumps(value)}"]
    assert main(command) == 2
    assert "b.png" in capsys.readouterr().err
    assert main([*command, "--skip-corrupt"]) == 0
    printed = capsys.readouterr()
    assert "skipped 1 unreadable sample" in printed.out and "images                         2" in printed.out
    assert "weights: random" in printed.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--dataset", "embedded"], "which model?"),
        (
            ["train", "--preset", "mask2former_r50_ade", "--dataset", "embedded"],
            "nearest: .*mask2former_r50_ade20k",
        ),
        (
            ["train", "--preset", "faseg_r50_ade20k", "--row", "1", "--dataset", "embedded"],
            "--row needs --table",
        ),
        (["train", "--table", "faseg", "--dataset", "embedded"], "expected PAPER/TABLE"),
        (["train", "--table", "faseg/4", "--row", "9", "--dataset", "embedded"], "rows 1 to 4, not 9"),
        (["train", *MODEL, "--dataset", "embeded"], "embedded"),
        (["train", *MODEL, "--dataset", "ade20k"], "ade20k"),
        (["train", *MODEL, *EMBEDDED, "--set", "decoder.querys=3"], "decoder.queries"),
        (["train", *MODEL, *EMBEDDED, "--set", "train.learning=3"], "learning"),
        (["train", *MODEL, *EMBEDDED, "--set", "nonsense"], "expected PATH=VALUE"),
        (["train", *MODEL, *EMBEDDED, "--weights", "nowhere.pth"], "no weights at nowhere.pth"),
        (["train", *MODEL, *EMBEDDED, "--steps", "0"], "steps must be at least 1"),
        (["train", *MODEL, *EMBEDDED, "--set", "train.lr=NaN"], "lr must be a finite number, not nan"),
        (["train", *MODEL, *EMBEDDED, "--set", "train.clip=Infinity"], "clip must be a finite number"),
        (["train", *MODEL, *EMBEDDED, "--seed", str(2**64)], "seed must be from 0 to"),
        (["train", *MODEL, *EMBEDDED, "--set", "train.task=panoptic"], "say --task panoptic"),
        (
            ["train", "--preset", "pft_r50_ade20k", "--task", "instance", *EMBEDDED],
            "gives semantic results, not instance ones",
        ),
        (["train", *MODEL, "--dataset", "embedded", "--overfit", "0"], "at least one image"),
        (["eval", "--table", "faseg/4", "--dataset", "embedded"], "has 4 rows; say which with --row"),
        (["eval", "--run", "nowhere", "--dataset", "embedded"], "not the folder of a run"),
        (
            ["eval", "--preset", "faseg_r50_ade20k", "--dataset", "embedded"],
            "the model has 150 classes, embedded has 12",
        ),
        (["predict", "--preset", "faseg_r50_ade20k", "nowhere.jpg"], "nowhere.jpg"),
        (["train", *MODEL, *EMBEDDED, "--device", "gpu"], "--device 'gpu': expected cpu, cuda"),
        (["train", *MODEL, *EMBEDDED, "--device", "cuda:99"], "CUDA devices here"),
        (["train", *MODEL, *EMBEDDED, "--set", "num_classes=5"], "num_classes = 5, but embedded has 12"),
        (
            ["train", "--table", "faseg/4", "--row", "4", "--variant", "paper", "--dataset", "embedded"],
            "--variant needs --preset",
        ),
    ],
)
def test_what_is_wrong_is_told_in_one_line(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert re.search(message, error), error
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("workers", "message"), [("-1", "-1 is negative"), ("many", "invalid count value")])
def test_workers_are_a_number(workers, message, capsys):
    with pytest.raises(SystemExit) as raised:
        main(["train", *MODEL, *EMBEDDED, "--workers", workers])
    error = capsys.readouterr().err
    assert raised.value.code == 2 and message in error and len(error.splitlines()) == 1


def test_changes_are_json_or_text_and_sorted_by_what_they_concern():
    assert parse_change("a.b=[1, 2]") == ("a.b", [1, 2])
    assert parse_change("a=dfpq") == ("a", "dfpq")
    texts = ["train.lr=0.5", "decoder.queries=dfpq"]
    assert model_changes(texts) == {"decoder.queries": "dfpq"} and train_changes(texts) == {"lr": 0.5}
