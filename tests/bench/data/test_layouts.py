"""Every layout, as a folder and as zips, gives back what was written into it."""

from __future__ import annotations

import json
import multiprocessing
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

from bench.data import categories, open_dataset
from bench.data.ade20k_full import FullLabels
from bench.data.classes import dataset_classes
from bench.data.export import exported_classes, relabelled
from bench.data.export_layouts import LAYOUTS
from bench.data.panoptic import panoptic
from bench.data.prepare import prepare
from bench.data.registry import ENTRIES
from bench.errors import UserError
from tests.bench.data.conftest import SPLITS, embedded, objects_of

CASES = [(layout, task) for layout in LAYOUTS for task in ENTRIES[layout].tasks]
cases = pytest.mark.parametrize(("layout", "task"), CASES)


def assert_same(layout: str, task: str, root: Path) -> None:
    for split in SPLITS:
        original = embedded(split, layout)
        order = exported_classes(original.info, layout, objects=True)
        loaded = open_dataset(layout, root, split, task=task)
        assert len(loaded) == len(original) and loaded.split == split
        for before, after in zip(original, loaded, strict=True):
            before = relabelled(before, order)
            assert after.name == before.name and torch.equal(after.image, before.image)
            if after.objects is None:
                assert torch.equal(after.semantic, before.semantic)
            if task == "semantic":
                assert after.objects is None
            else:
                assert objects_of(after, loaded.info) == objects_of(before, loaded.info)
            if task == "panoptic":
                assert _segments(after, loaded.info) == _segments(before, loaded.info)


def _segments(sample, info):
    rows = panoptic(sample, info)[1]
    return sorted((row["category_id"], row["isthing"], row["iscrowd"], row["area"]) for row in rows)


@cases
def test_folders_load_back_identically(layout, task, with_objects):
    assert_same(layout, task, with_objects[layout])


@cases
def test_zips_load_back_identically(layout, task, zipped):
    if layout == "ade20k" and task != "semantic":
        prepare("ade20k", zipped["ade20k"])
    assert all(path.suffix == ".zip" for path in zipped[layout].iterdir() if path.is_file())
    assert_same(layout, task, zipped[layout])


def test_every_data_set_of_files_can_be_exported():
    assert sorted(LAYOUTS) == sorted(name for name, entry in ENTRIES.items() if entry.layout)
    assert {name for name, entry in ENTRIES.items() if not entry.layout} == {"embedded"}


def test_things_are_exported_as_things():
    info = open_dataset("embedded").info
    for layout in ("ade20k", "cityscapes", "coco", "mapillary"):
        target, order = dataset_classes(layout), exported_classes(info, layout, objects=True)
        assert [label in target.things for label in order] == [i in info.things for i in range(12)]
        assert len(set(order)) == 12
    assert exported_classes(info, "ade20k") == list(range(12))
    assert exported_classes(info, "coco") == [80, 81, 82, 83, 84, 85, 0, 1, 2, 3, 4, 5]
    with pytest.raises(UserError, match="coco has 80 things; cityscapes holds 8"):
        exported_classes(dataset_classes("coco"), "cityscapes", objects=True)
    with pytest.raises(UserError, match="ade20k has 150 classes; pascal_context holds 59"):
        exported_classes(dataset_classes("ade20k"), "pascal_context")


def test_the_names_of_the_official_zips(zipped):
    names = {layout: sorted(path.name for path in root.glob("*.zip")) for layout, root in zipped.items()}
    assert names["ade20k"] == ["ADEChallengeData2016.zip"]
    assert names["cityscapes"] == ["gtFine_trainvaltest.zip", "leftImg8bit_trainvaltest.zip"]
    assert names["coco"] == [
        "annotations_trainval2017.zip",
        "panoptic_annotations_trainval2017.zip",
        "train2017.zip",
        "val2017.zip",
    ]


def test_a_single_zip_is_a_root(zipped):
    loaded = open_dataset("ade20k", zipped["ade20k"] / "ADEChallengeData2016.zip", "val")
    assert [sample.name for sample in loaded] == ["embedded_val_000000", "embedded_val_000001"]
    assert loaded.checksum() == open_dataset("ade20k", zipped["ade20k"], "val").checksum()


def test_forked_workers_read_one_zip(zipped):
    dataset = open_dataset("cityscapes", zipped["cityscapes"], "train", task="panoptic")
    expected = [sample.image.sum().item() for sample in dataset]
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.starmap(_sum, [(dataset, i % 4) for i in range(24)]) == expected * 6


def _sum(dataset, index):
    return dataset[index].image.sum().item()


def test_a_task_without_labels():
    for name, task, has in (
        ("camvid", "panoptic", "semantic"),
        ("coco_stuff10k", "instance", "semantic"),
        ("mapillary", "instance", "semantic, panoptic"),
    ):
        expected = f"dataset '{name}' has no labels for the task '{task}'; it has: {has}$"
        with pytest.raises(UserError, match=expected):
            open_dataset(name, "anywhere", task=task)
    with pytest.raises(UserError, match="no labels for the task 'depth'"):
        open_dataset("embedded", task="depth")


def test_published_counts():
    counts = {name: tuple(entry.counts.values()) for name, entry in ENTRIES.items()}
    assert counts == {
        "embedded": (), "ade20k": (20210, 2000), "cityscapes": (2975, 500), "camvid": (367, 101, 233),
        "coco": (118287, 5000), "coco_stuff10k": (9000, 1000), "pascal_context": (4998, 5105),
        "mapillary": (18000, 2000),
    }  # fmt: skip
    assert ENTRIES["coco"].counts_for("instance")["train"] == 117266


def test_cityscapes_groups_are_crowds(with_objects, tmp_path):
    root = Path(shutil.copytree(with_objects["cityscapes"], tmp_path / "city"))
    ids = np.full((64, 96), 7, np.uint16)  # road
    ids[:10] = 26_000  # a car
    ids[10:20] = 26_001
    ids[20:30] = 26  # cars nobody took apart
    ids[30:40] = 24  # a group of persons
    ids[40:50] = 30  # a trailer: not evaluated
    ids[50:55] = 29_003  # a caravan, with a number
    ids[55:60] = 17_002  # a pole with a number: no thing
    Image.fromarray(ids).save(root / "gtFine/val/export/embedded_val_000000_gtFine_instanceIds.png")
    sample = open_dataset("cityscapes", root, "val", task="panoptic")[0]
    assert sample.instances[::10, 0].tolist() == [3, 4, 2, 1, 0, 0, 0] and sample.crowd == {1, 2}
    assert sample.semantic[::10, 0].tolist() == [13, 13, 13, 11, 255, 255, 0]
    assert sample.semantic[56, 0] == 5  # pole
    found = Image.fromarray(np.where(ids == 7, 34_001, ids).astype(np.uint16))
    found.save(root / "gtFine/val/export/embedded_val_000000_gtFine_instanceIds.png")
    with pytest.raises(UserError, match="instanceIds.png: id 34 on .* expected label ids 0 to 33"):
        open_dataset("cityscapes", root, "val", task="panoptic")[0]


def test_forms_of_coco_stuff(tmp_path):
    ids = np.zeros((64, 96), np.uint8)
    ids[:10], ids[10:20], ids[20:30] = 1, 92, 182  # person, banner, wood
    classes = [0, 80, 170, 255]
    train_ids = np.array([0, 1, 81, 171], np.uint8)[np.array([1, 2, 3, 0, 0, 0, 0]).repeat(10)[:64]]
    labels = np.broadcast_to(train_ids[:, None], ids.shape)
    forms = {
        "mmseg": ("images/train2014", "annotations/train2014", "_labelTrainIds", labels),
        "maskformer": ("images_detectron2/train", "annotations_detectron2/train", "", labels - np.uint8(1)),
        "maps": ("images/train2017", "stuffthingmaps/train2017", "", ids - np.uint8(1)),
    }
    for form, (images, maps, ending, picture) in forms.items():
        for folder in (images, maps):
            (tmp_path / form / folder).mkdir(parents=True)
        Image.new("RGB", (96, 64)).save(tmp_path / form / images / "a.jpg")
        Image.fromarray(picture).save(tmp_path / form / maps / f"a{ending}.png")
        sample = open_dataset("coco_stuff10k", tmp_path / form)[0]
        assert sample.semantic[[0, 10, 20, 30], 0].tolist() == classes, form


def test_coco_stuff_names_what_is_wrong(with_objects, tmp_path):
    root = Path(shutil.copytree(with_objects["coco_stuff10k"], tmp_path / "stuff"))
    path = root / "annotations/embedded_train_000000.mat"
    savemat(path, {"S": np.full((64, 96), 12, np.uint16)})  # an id that COCO never gave
    with pytest.raises(UserError, match=r"000000.mat: id 12 on 6144 pixels; expected 0 \(unlabelled\) or"):
        open_dataset("coco_stuff10k", root)[0]
    savemat(path, {"T": np.zeros((64, 96))})
    with pytest.raises(UserError, match="000000.mat: expected a matrix S"):
        open_dataset("coco_stuff10k", root)[0]
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match="000000.mat: truncated or not a MATLAB file"):
        open_dataset("coco_stuff10k", root)[0]
    assert len(open_dataset("coco_stuff10k", root, skip_corrupt=True)) == 3
    (root / "images/embedded_val_000001.png").unlink()
    with pytest.raises(UserError, match=r"test.txt: no image .*val_000001.jpg \(1 of 2 are missing\)"):
        open_dataset("coco_stuff10k", root, "val")
    (root / "imageLists/test.txt").unlink()
    with pytest.raises(UserError, match="dataset coco_stuff10k: no list .*test.txt: expected ROOT/images"):
        open_dataset("coco_stuff10k", root, "test")


def test_lists_that_windows_wrote(with_objects, tmp_path):
    root = Path(shutil.copytree(with_objects["pascal_context"], tmp_path / "context"))
    path = root / "ImageSets/SegmentationContext/val.txt"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    names = [pair.name for pair in open_dataset("pascal_context", root, "val").pairs]
    assert names == ["embedded_val_000000", "embedded_val_000001"]


def test_random_damage_to_matlab_files_is_told_in_one_line(with_objects, tmp_path):
    root = Path(shutil.copytree(with_objects["coco_stuff10k"], tmp_path / "stuff"))
    dataset = open_dataset("coco_stuff10k", root, "val")
    path = dataset.pairs[0].labels
    whole, numbers, told = path.read_bytes(), random.Random(0), 0
    for _ in range(100):
        data, place = bytearray(whole), numbers.randrange(len(whole))
        data[place : place + numbers.randrange(3)] = numbers.randbytes(2)
        path.write_bytes(data)
        try:
            dataset[0]
        except UserError as error:
            assert str(path) in str(error) and "\n" not in str(error)
            told += 1
    assert told > 50


def test_pascal_context_as_published(with_objects, tmp_path):
    root = tmp_path / "VOCdevkit/VOC2010"
    shutil.copytree(with_objects["pascal_context"], root)
    shutil.rmtree(root / "SegmentationClassContext")
    (root / "trainval").mkdir()
    labels = np.zeros((64, 96), np.uint16)
    labels[0, :5] = 2, 9, 458, 1, 459  # aeroplane, bag, wood; two that are none of the 59
    for i in range(4):
        savemat(root / f"trainval/embedded_train_{i:06d}.mat", {"LabelMap": labels})
    sample = open_dataset("pascal_context", tmp_path)[0]
    assert sample.semantic[0, :6].tolist() == [0, 1, 58, 255, 255, 255]
    savemat(root / "trainval/embedded_train_000001.mat", {"LabelMap": labels + 1})
    with pytest.raises(UserError, match="000001.mat: id 460 on 1 pixels; expected labels 0 to 459"):
        open_dataset("pascal_context", tmp_path)[1]


def test_mapillary_in_the_folder_of_its_version(with_objects, tmp_path):
    root = Path(shutil.copytree(with_objects["mapillary"], tmp_path / "vistas"))
    before = open_dataset("mapillary", root, "val", task="panoptic")[1]
    for split in ("training", "validation"):
        (root / split / "v1.2").mkdir()
        for kind in ("labels", "panoptic"):
            (root / split / kind).rename(root / split / "v1.2" / kind)
    after = open_dataset("mapillary", root, "val", task="panoptic")[1]
    assert torch.equal(before.instances, after.instances) and before.crowd == after.crowd != frozenset()
    labels = np.full((64, 96), 65, np.uint8)
    labels[0, 0] = 64
    path = root / "validation/v1.2/labels/embedded_val_000000.png"
    Image.fromarray(labels).save(path)
    semantic = open_dataset("mapillary", root, "val")[0].semantic
    assert semantic[0, 0] == 64 and int((semantic == 255).sum()) == 64 * 96 - 1


def test_the_full_ade20k_in_150_classes(tmp_path):
    scene = tmp_path / "ADE20K_2021_17_01/images/ADE/training/urban/street"
    (scene / "a").mkdir(parents=True)
    Image.new("L", (6, 4)).save(scene / "a/instance_000_a.png")
    Image.new("RGB", (6, 4)).save(scene / "a.jpg")
    names = {401: "car, auto, automobile, machine, motorcar", 2420: "sky", 3113: "alarm, warning device"}
    rows = [{"name_ndx": number, "name": name} for number, name in names.items()]
    (scene / "a.json").write_text(json.dumps({"annotation": {"object": rows}}))
    picture = np.zeros((4, 6, 3), np.uint8)
    for row, (number, thing) in enumerate(((401, 200), (2420, 8), (3113, 9))):
        picture[row] = number // 256 * 10, number % 256, thing
    picture[0, 3:, 2] = 45, 45, 0  # another car, and one without a number
    Image.fromarray(picture).save(scene / "a_seg.png")
    assert open_dataset("ade20k", tmp_path).published == 25_574
    semantic = open_dataset("ade20k", tmp_path)[0].semantic
    assert semantic[:, 0].tolist() == [20, 2, 255, 255] and semantic[0].unique().tolist() == [20]
    sample = open_dataset("ade20k", tmp_path, task="panoptic")[0]
    assert sample.instances[0].tolist() == [2, 2, 2, 1, 1, 0] and sample.instances[1:].max() == 0
    assert sample.semantic[0].tolist() == [20, 20, 20, 20, 20, 255]
    (scene / "a.json").write_text("{}")
    with pytest.raises(UserError, match="a.json: not the JSON of an image of ADE20K .KeyError"):
        open_dataset("ade20k", tmp_path)[0]
    (scene / "a_seg.png").unlink()
    with pytest.raises(UserError, match="a.jpg: no label map at .*a_seg.png"):
        open_dataset("ade20k", tmp_path)


def test_the_names_of_the_full_ade20k_are_the_classes():
    classes = categories.ade20k().classes
    names = FullLabels(categories.ade20k(), objects=True).classes
    assert len(names) == 150 and list(names.values()) == list(range(150))
    shared = [
        set(ours.split(", ")) & set(theirs.split(", ")) for ours, theirs in zip(classes, names, strict=True)
    ]
    assert [classes[i] for i, words in enumerate(shared) if not words] == ["pool"]  # swimming pool
