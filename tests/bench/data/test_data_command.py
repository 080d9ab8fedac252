from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bench.commands import data
from bench.data import Sample, open_dataset
from bench.data.base import Objects
from bench.data.picture import contact_sheet, overlay, painted
from bench.data.verify import verify
from bench.errors import UserError
from tests.bench.data.conftest import embedded, objects_of


def run(*arguments: object) -> int:
    """`python -m bench data ARGUMENTS` without the other commands."""
    parser = argparse.ArgumentParser()
    data.register(parser.add_subparsers())
    args = parser.parse_args(["data", *map(str, arguments)])
    return args.run(args)


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MASKBENCH_STORE", str(tmp_path / "store"))
    return tmp_path / "store"


@pytest.fixture
def root(exported: dict[str, Path], tmp_path: Path) -> Path:
    """A copy of the CamVid layout with one file cut short."""
    folder = Path(shutil.copytree(exported["camvid"], tmp_path / "camvid"))
    image = folder / "train/images/embedded_train_000002.png"
    image.write_bytes(image.read_bytes()[:500])
    return folder


def test_alone_it_tells_the_layouts(capsys):
    assert run() == 0
    printed = capsys.readouterr().out
    for text in (
        "ade20k (20,210 train, 2,000 val): semantic, panoptic, instance",
        "coco (118,287 train, 5,000 val)",
        "mapillary (18,000 train, 2,000 val): semantic, panoptic",
        "coco_stuff10k (9,000 train, 1,000 val): semantic",
        "pascal_context (4,998 train, 5,105 val)",
        "leftImg8bit",
        "sceneparsing.csail.mit.edu",
        "classes.json",
    ):
        assert text in printed


def test_verify_good_data_writes_a_summary(exported, store, capsys):
    assert (
        run("verify", "--dataset", "ade20k", "--root", exported["ade20k"], "--split", "val", "--subset") == 0
    )
    assert (
        "ade20k val: 2 samples, sizes 96x64, 0.0 % of the pixels ignored, 0 faults" in capsys.readouterr().out
    )
    summary = json.loads((store / "verify/ade20k-val.json").read_text())
    assert summary["samples"] == 2 and summary["sizes"] == {"96x64": 2} and summary["faults"] == []
    assert sum(summary["pixels"].values()) == 2 * 64 * 96
    sky = sum(
        int((s.semantic == 0).sum()) for s in open_dataset("embedded", split="val", size=(64, 96), length=2)
    )
    assert summary["pixels"]["wall"] == sky  # class 0 of ADE20K


def test_verify_compares_with_the_published_counts(exported):
    with pytest.raises(UserError, match="ade20k val: 2 images, but the published split has 2000"):
        run("verify", "--dataset", "ade20k", "--root", exported["ade20k"], "--split", "val")


def test_verify_knows_the_counts_of_the_full_ade20k(tmp_path):
    scene = tmp_path / "images/ADE/validation/street"
    scene.mkdir(parents=True)
    for name in ("a.jpg", "a_seg.png"):
        Image.new("RGB", (6, 4)).save(scene / name)
    (scene / "a.json").write_text('{"annotation": {"object": []}}')
    with pytest.raises(UserError, match="ade20k val: 1 images, but the published split has 2000"):
        run("verify", "--dataset", "ade20k", "--root", tmp_path, "--split", "val")
    (tmp_path / "images/ADE/validation").rename(tmp_path / "images/ADE/training")
    with pytest.raises(UserError, match="ade20k train: 1 images, but the published split has 25574"):
        run("verify", "--dataset", "ade20k", "--root", tmp_path, "--split", "train")


def test_verify_names_a_truncated_file_and_can_skip_it(root, store, capsys):
    arguments = ("verify", "--dataset", "camvid", "--root", root, "--split", "train", "--subset")
    with pytest.raises(UserError, match="embedded_train_000002.png: truncated or not an image"):
        run(*arguments)
    assert run(*arguments, "--skip-corrupt") == 0
    assert "0 faults, 1 skipped" in capsys.readouterr().out
    summary = json.loads((store / "verify/camvid-train.json").read_text())
    assert len(summary["skipped"]) == 1 and summary["samples"] == 4


def test_verify_collects_all_faults(root, capsys):
    labels = np.full((64, 96), 99, np.uint8)
    Image.fromarray(labels).save(root / "train/masks/embedded_train_000000.png")
    Image.new("L", (96, 60)).save(root / "train/masks/embedded_train_000003.png")
    with pytest.raises(UserError, match="3 faults in camvid: .*000000.png: id 99 on 6144 pixels"):
        run("verify", "--dataset", "camvid", "--root", root, "--split", "train", "--subset")
    printed = capsys.readouterr().out
    assert "3 faults" in printed and "label map of 96x60" in printed and "000002.png: truncated" in printed


def test_verify_goes_on_where_a_later_split_is_missing(root, capsys):
    with pytest.raises(UserError, match="2 faults in camvid: .*000002.png: truncated"):
        run("verify", "--dataset", "camvid", "--root", root, "--subset")
    printed = capsys.readouterr().out
    assert "camvid train: 4 samples" in printed and ", 1 fault, 0 skipped" in printed
    assert f"  dataset camvid: no folder {root}/test/images: expected ROOT/" in printed
    with pytest.raises(UserError, match=f"^dataset camvid: no folder {root}/nothing/train/images"):
        run("verify", "--dataset", "camvid", "--root", root / "nothing")


def test_the_checksum_of_verify_covers_the_content(root):
    clean = verify(open_dataset("camvid", root, "val"))
    assert verify(open_dataset("camvid", root, "val")).checksum == clean.checksum
    path = root / "val/masks/embedded_val_000000.png"
    labels = np.asarray(Image.open(path)).copy()
    labels[0, 0] = (labels[0, 0] + 1) % 12
    Image.fromarray(labels).save(path)
    assert verify(open_dataset("camvid", root, "val")).checksum != clean.checksum
    embedded = open_dataset("embedded", size=64, length=2)
    assert verify(embedded).checksum != verify(open_dataset("embedded", size=64, length=2, seed=1)).checksum


def test_verify_counts_objects_and_crowds(with_objects, store, capsys):
    root = with_objects["cityscapes"]
    arguments = ("--dataset", "cityscapes", "--root", root, "--task", "panoptic", "--split", "val")
    assert run("verify", *arguments, "--subset") == 0
    summary = json.loads((store / "verify/cityscapes-panoptic-val.json").read_text())
    things = [len(objects_of(sample, sample_info())) for sample in embedded("val")]
    assert summary["crowds"] == 2 and sum(summary["objects"].values()) == sum(things) - 2
    assert set(summary["objects"]) <= {"person", "rider", "car", "truck", "bus", "train"}
    printed = capsys.readouterr().out
    assert f"0.0 % of the pixels ignored, {sum(things) - 2} objects and 2 crowds, 0 faults" in printed
    arguments = ("--dataset", "coco", "--root", with_objects["coco"], "--task", "instance")
    assert run("verify", *arguments, "--subset") == 0
    printed = capsys.readouterr().out
    assert f"coco val: 2 samples, sizes 96x64, {sum(things) - 2} objects and 2 crowds, 0 faults" in printed


def sample_info():
    return open_dataset("embedded").info


def test_verify_covers_the_json_in_its_checksum(with_objects, tmp_path):
    root = Path(shutil.copytree(with_objects["mapillary"], tmp_path / "mapillary"))
    before = verify(open_dataset("mapillary", root, "val", task="panoptic")).checksum
    path = root / "validation/panoptic/panoptic_2018.json"
    path.write_text(path.read_text() + " ")
    assert verify(open_dataset("mapillary", root, "val", task="panoptic")).checksum != before


def test_verify_finds_a_png_that_does_not_fit_its_json(with_objects, tmp_path):
    root = Path(shutil.copytree(with_objects["ade20k"], tmp_path / "ade"))
    first, second = (root / f"ade20k_panoptic_val/embedded_val_00000{i}.png" for i in (0, 1))
    pixels = np.asarray(Image.open(first)).copy()
    pixels[0, 0] = 1, 2, 3
    Image.fromarray(pixels).save(first)
    Image.new("RGB", (96, 60)).save(second)
    arguments = ("--dataset", "ade20k", "--root", root, "--task", "panoptic", "--split", "val", "--subset")
    with pytest.raises(UserError, match="2 faults in ade20k: .*000000.png: segment 197121 on 1 pixels is"):
        run("verify", *arguments)


def test_verify_takes_the_counts_of_the_task(with_objects):
    arguments = ("--dataset", "coco", "--root", with_objects["coco"], "--split", "train")
    with pytest.raises(UserError, match="coco train: 4 images, but the published split has 117266"):
        run("verify", *arguments, "--task", "instance")
    with pytest.raises(UserError, match="coco train: 4 images, but the published split has 118287"):
        run("verify", *arguments, "--task", "panoptic")


def test_prepare_makes_what_is_missing(with_objects, tmp_path, capsys):
    root = tmp_path / "ade"
    shutil.copytree(with_objects["ade20k"], root, ignore=shutil.ignore_patterns("ade20k_*"))
    arguments = ("prepare", "--dataset", "ade20k", "--root", root)
    assert run(*arguments) == 0
    assert [line.split("/")[-1] for line in capsys.readouterr().out.splitlines()] == [
        f"ade20k_{kind}_{split}.json" for split in ("train", "val") for kind in ("panoptic", "instance")
    ]
    assert run(*arguments, "--split", "val") == 0
    assert "ade20k: nothing to do, all is there" in capsys.readouterr().out


def test_show_draws_objects(with_objects, tmp_path):
    for task in ("panoptic", "instance"):
        out = tmp_path / f"{task}.png"
        arguments = ("--dataset", "coco", "--root", with_objects["coco"], "--task", task, "--count", 2)
        assert run("show", *arguments, "--out", out) == 0
        with Image.open(out) as sheet:
            tile = np.asarray(sheet)[6 : 6 + 256, 6 + 384 : 6 + 768]
        edges = (tile.max(2) < 90).mean()
        assert edges > 0.02, task  # outlines are dark


def test_objects_are_painted_small_over_large():
    masks = torch.zeros(3, 4, 6, dtype=torch.bool)
    masks[0, 1, 1], masks[1], masks[2, :, :3] = True, True, True
    found = Objects(labels=torch.tensor([5, 6, 7]), masks=masks, crowd=torch.tensor([False, True, False]))
    image, semantic = torch.zeros(3, 4, 6, dtype=torch.uint8), torch.full((4, 6), 255, dtype=torch.uint8)
    sample = painted(Sample(image=image, semantic=semantic, name="a", objects=found))
    assert sample.semantic[1].tolist() == [7, 5, 7, 6, 6, 6] and sample.crowd == {2}
    assert sample.instances[1].tolist() == [3, 1, 3, 2, 2, 2]


def test_show_writes_a_sheet(tmp_path, capsys):
    out = tmp_path / "sheet.png"
    assert run("show", "--dataset", "embedded", "--count", 4, "--out", out) == 0
    with Image.open(out) as sheet:
        assert sheet.format == "PNG" and sheet.width == 3 * (512 + 6) + 6
        assert len(sheet.convert("RGB").getcolors(1 << 24)) > 1000
    assert "4 of 200 samples" in capsys.readouterr().out


def test_export_and_open(tmp_path, capsys):
    arguments = ("export", "--layout", "cityscapes", "--out", tmp_path / "city", "--size", 64, "--length", 2)
    assert run(*arguments, "--split", "test") == 0
    dataset = open_dataset("cityscapes", tmp_path / "city", "test")
    assert torch.equal(dataset[1].image, open_dataset("embedded", split="test", size=64)[1].image)
    assert "2 samples of split test in the cityscapes layout" in capsys.readouterr().out
    with pytest.raises(UserError, match="already exists"):
        run(*arguments, "--split", "test")


def test_export_as_zips(tmp_path, capsys):
    arguments = ("export", "--layout", "coco", "--out", tmp_path, "--size", 64, "--length", 2, "--zip")
    assert run(*arguments, "--split", "val") == 0
    names = "val2017.zip, annotations_trainval2017.zip, panoptic_annotations_trainval2017.zip"
    assert capsys.readouterr().out == f"{tmp_path}: {names} with 2 val samples\n"
    assert len(open_dataset("coco", tmp_path, "val", task="panoptic")) == 2
    with pytest.raises(UserError, match="val2017.zip already exists"):
        run(*arguments, "--split", "val")


def test_export_with_objects(tmp_path):
    arguments = ("export", "--layout", "ade20k", "--out", tmp_path, "--size", 64, "--length", 2)
    assert run(*arguments, "--task", "instance", "--split", "val") == 0
    assert len(open_dataset("ade20k", tmp_path, "val", task="instance")[0].objects) > 0


def test_counts_must_be_positive(tmp_path):
    with pytest.raises(SystemExit) as caught:
        run("show", "--dataset", "embedded", "--count", 0, "--out", tmp_path / "sheet.png")
    assert caught.value.code == 2


def test_overlay_colours():
    info = open_dataset("embedded").info
    image = torch.full((3, 8, 8), 100, dtype=torch.uint8)
    semantic = torch.full((8, 8), 255, dtype=torch.uint8)
    semantic[:, 4:] = 6
    drawn = overlay(image, semantic, info, opacity=0.5)
    assert torch.equal(drawn[:, :, :3], image[:, :, :3])  # ignored: as it was
    assert (drawn[:, :, 3] == 35).all()  # outline
    red, green, blue = info.colors[6]
    expected = torch.tensor([(100 + c) / 2 for c in (red, green, blue)]).round()
    assert (drawn[:, 0, 6] - expected).abs().max() <= 1


def test_contact_sheet_of_samples_without_instances(exported):
    dataset = open_dataset("camvid", exported["camvid"])
    sheet = contact_sheet(list(dataset), dataset.info, height=64, columns=2)
    assert sheet.width == 2 * (2 * 96 + 6) + 6
    tile = np.asarray(sheet)[6 : 6 + 64, 6 : 6 + 96]
    assert np.array_equal(tile, dataset[0].image.permute(1, 2, 0).numpy())
