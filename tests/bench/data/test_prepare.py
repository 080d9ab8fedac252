from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as rle

from bench.data import categories, open_dataset
from bench.data.archive import open_root
from bench.data.export import export
from bench.data.panoptic import read_panoptic
from bench.data.prepare import prepare
from bench.data.prepare_ade20k import COLORS
from bench.data.resumable import run_all
from bench.errors import UserError

WALL, BED, PERSON, SKY = 0, 7, 12, 2


@pytest.fixture
def root(tmp_path) -> Path:
    """One validation image of 8 x 10 pixels: wall above sky, with two beds and a person."""
    return make_root(tmp_path / "ade")


def make_root(folder: Path) -> Path:
    semantic = np.zeros((8, 10), np.uint8)
    semantic[:4], semantic[4:7] = WALL + 1, SKY + 1
    semantic[2:4, 2:4] = BED + 1
    semantic[0, :3] = BED + 1  # beds without an object
    objects = np.zeros((8, 10, 3), np.uint8)
    objects[2:4, 2:4] = 1, 5, 0  # bed 5
    objects[5:7, 2:4] = 1, 9, 0  # bed 9, which the semantic labels call sky
    objects[7, :2] = 4, 2, 77  # person 2, where they say nothing
    black = np.zeros((8, 10, 3), np.uint8)
    files = {"images": black, "annotations": semantic, "annotations_instance": objects}
    for kind, picture in files.items():
        path = folder / kind / "validation" / "ADE_val_00000001.png"
        path.parent.mkdir(parents=True)
        Image.fromarray(picture).save(path)
    return folder


def made(root: Path) -> dict[str, bytes]:
    files = [*root.glob("ade20k_*.json"), *root.glob("ade20k_*/*.png")]
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def test_what_the_released_preparation_makes(root):
    paths = prepare("ade20k", root, ["val"])
    assert [path.name for path in paths] == ["ade20k_panoptic_val.json", "ade20k_instance_val.json"]
    content = json.loads(paths[0].read_text())
    assert content["images"] == [
        {"id": "ADE_val_00000001", "file_name": "ADE_val_00000001.png", "width": 10, "height": 8}
    ]
    assert len(content["categories"]) == 150
    assert content["categories"][BED] == {"id": 7, "name": "bed", "isthing": 1, "color": [204, 5, 255]}
    wall, sky, bed = (r | g << 8 | b << 16 for r, g, b in ((120, 120, 120), (6, 230, 230), (204, 5, 255)))
    person = 150 | 5 << 8 | 61 << 16
    assert content["annotations"] == [
        {
            "image_id": "ADE_val_00000001",
            "file_name": "ADE_val_00000001.png",
            "segments_info": [
                {"id": wall, "category_id": WALL, "area": 33, "bbox": [0, 0, 10, 4], "iscrowd": 0},
                {"id": sky, "category_id": SKY, "area": 26, "bbox": [0, 4, 10, 3], "iscrowd": 0},
                {"id": person, "category_id": PERSON, "area": 2, "bbox": [0, 7, 2, 1], "iscrowd": 0},
                {"id": bed, "category_id": BED, "area": 4, "bbox": [2, 2, 2, 2], "iscrowd": 0},
                {"id": bed + 1, "category_id": BED, "area": 4, "bbox": [2, 5, 2, 2], "iscrowd": 0},
            ],
        }
    ]
    ids = read_panoptic(root / "ade20k_panoptic_val/ADE_val_00000001.png")
    assert ids[:, 2].tolist() == [0, wall, bed, bed, sky, bed + 1, bed + 1, 0] and ids[7, 0] == person


def test_instances_share_the_categories(root):
    prepare("ade20k", root, ["val"])
    content = json.loads((root / "ade20k_instance_val.json").read_text())
    assert [category["id"] for category in content["categories"]] == sorted(categories.ade20k().things)
    rows = content["annotations"]
    assert [(row["id"], row["category_id"], row["area"], row["bbox"]) for row in rows] == [
        (1, PERSON, 2, [0, 7, 2, 1]), (2, BED, 4, [2, 2, 2, 2]), (3, BED, 4, [2, 5, 2, 2]),
    ]  # fmt: skip
    mask = rle.decode(rows[2]["segmentation"])
    assert mask.shape == (8, 10) and np.argwhere(mask).tolist() == [[5, 2], [5, 3], [6, 2], [6, 3]]
    assert all(row["iscrowd"] == 0 and row["image_id"] == "ADE_val_00000001" for row in rows)


def test_what_is_made_is_read(root):
    prepare("ade20k", root, ["val"])
    sample = open_dataset("ade20k", root, "val", task="panoptic")[0]
    assert sample.semantic[:, 2].tolist() == [255, WALL, BED, BED, SKY, BED, BED, 255]
    assert sample.instances[:, 2].tolist() == [0, 0, 2, 2, 0, 3, 3, 0] and sample.crowd == frozenset()
    objects = open_dataset("ade20k", root, "val", task="instance")[0].objects
    assert objects.labels.tolist() == [PERSON, BED, BED]
    assert objects.masks.flatten(1).sum(1).tolist() == [2, 4, 4]


def test_every_class_has_a_colour_of_its_own(root):
    semantic = np.zeros((8, 10), np.uint8)
    semantic[:4], semantic[4:] = 7, 49  # road and skyscraper
    Image.fromarray(semantic).save(root / "annotations/validation/ADE_val_00000001.png")
    prepare("ade20k", root, ["val"])
    sample = open_dataset("ade20k", root, "val", task="panoptic")[0]
    assert sample.semantic[:, 9].tolist() == [6] * 4 + [48] * 4
    assert len(set(COLORS)) == 150


def test_the_100_categories_of_instances():
    things = sorted(categories.ade20k().things)
    assert len(things) == 100
    known = {1: 8, 4: 13, 5: 15, 18: 36, 57: 89, 100: 150}  # category -> label in the released mapping
    assert {category: things[category - 1] + 1 for category in known} == known


@pytest.mark.parametrize(
    ("kind", "change", "fault"),
    [
        ("annotations_instance", (0, 0, (101, 1, 0)), "object 1 has the category 101; expected 1 to 100"),
        ("annotations_instance", (2, 2, (4, 5, 0)), "object 5 has more than one category"),
        ("annotations_instance", (0, 0, (0, 3, 0)), "object 3 has the category 0"),
        ("annotations", (0, 0, 151), "id 151 on 1 pixels"),
    ],
)
def test_labels_that_cannot_be_right(kind, change, fault, root):
    path = root / kind / "validation" / "ADE_val_00000001.png"
    picture = np.asarray(Image.open(path)).copy()
    picture[change[0], change[1]] = change[2]
    Image.fromarray(picture).save(path)
    with pytest.raises(UserError, match=f"{kind}/validation/ADE_val_00000001.png: {fault}"):
        prepare("ade20k", root, ["val"])


def test_files_that_are_missing_or_of_another_size(root):
    path = root / "annotations_instance/validation/ADE_val_00000001.png"
    Image.new("RGB", (10, 7)).save(path)
    with pytest.raises(UserError, match="annotations_instance/.*: 10x7 pixels, .*annotations/.* has 10x8"):
        prepare("ade20k", root, ["val"])
    Image.new("L", (10, 8)).save(path)
    with pytest.raises(UserError, match="expected categories in red and objects in green"):
        prepare("ade20k", root, ["val"])
    path.unlink()
    with pytest.raises(UserError, match="no label map at .*annotations_instance/validation/ADE_val_0000"):
        prepare("ade20k", root, ["val"])
    path.parent.rmdir()
    with pytest.raises(UserError, match="no folder .*annotations_instance/validation: expected ROOT/images"):
        prepare("ade20k", root, ["val"])


def test_what_needs_no_preparation(root):
    with pytest.raises(UserError, match="mapillary is read as it is published, there is nothing to prepare"):
        prepare("mapillary", root)
    with pytest.raises(UserError, match="ade20k has no split 'vall'; nearest: val"):
        prepare("ade20k", root, ["vall"])
    with pytest.raises(UserError, match="dataset ade20k: no folder .*nowhere"):
        prepare("ade20k", root / "nowhere")
    assert prepare("ade20k", root, ["val"]) and prepare("ade20k", root, ["val"]) == []


def test_before_it_is_prepared_the_command_is_told(root):
    for task in ("panoptic", "instance"):
        command = rf"no .*ade20k_{task}_val.json; python -m bench data prepare"
        with pytest.raises(UserError, match=command) as caught:
            open_dataset("ade20k", root, "val", task=task)
        assert f"--dataset ade20k --root {root}" in str(caught.value)


@pytest.fixture(scope="module")
def six(tmp_path_factory) -> Path:
    """Six exported images whose preparations are removed."""
    root = tmp_path_factory.mktemp("six")
    export(open_dataset("embedded", split="val", size=(64, 96), length=6), "ade20k", root, objects=True)
    return root


def bare(six: Path, target: Path) -> Path:
    return Path(shutil.copytree(six, target, ignore=shutil.ignore_patterns("ade20k_*")))


def killed_after(items: int):
    """A progress bar that kills this very process."""

    def progress(iterable: Iterable, total: int, label: str) -> Iterable:
        for index, item in enumerate(iterable):
            if index == items:
                os.kill(os.getpid(), signal.SIGKILL)
            yield item

    return progress


@pytest.mark.parametrize("after", [0, 3, 5])
def test_a_killed_preparation_goes_on_with_an_equal_result(after, six, tmp_path):
    root = bare(six, tmp_path / "ade")
    child = os.fork()
    if child == 0:
        prepare("ade20k", root, ["val"], progress=killed_after(after))
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert not list(root.glob("ade20k_*.json"))
    journal = root / ".ade20k_panoptic_val.jsonl"
    assert len(journal.read_text().splitlines()) == 1 + after
    journal.write_bytes(journal.read_bytes() + b'{"name": "embedded_val_00000')  # cut in the middle of a line
    seen = []

    def counting(iterable, total, label):
        seen.append(total)
        return iterable

    prepare("ade20k", root, ["val"], progress=counting)
    assert seen == [6 - after, 6]
    assert made(root) == made(six) and len(made(root)) == 8
    assert not list(root.glob(".ade20k_*"))


def test_a_journal_of_other_files_is_thrown_away(six, tmp_path):
    root = bare(six, tmp_path / "ade")
    (root / ".ade20k_panoptic_val.jsonl").write_text('{"state": "other"}\n{"name": "x", "record": {}}\n')
    prepare("ade20k", root, ["val"])
    assert made(root) == made(six)


def test_processes_give_an_equal_result(tmp_path):
    items = [json.dumps({"square": i * i}) for i in range(30)]
    names = [str(i) for i in range(30)]
    results = [
        run_all(items, names, json.loads, tmp_path / f"{workers}", state="a", workers=workers)
        for workers in (0, 2)
    ]
    assert results[0] == results[1] == [{"square": i * i} for i in range(30)]
    assert (tmp_path / "0").read_bytes() == (tmp_path / "2").read_bytes()


def test_a_fault_leaves_what_was_done(tmp_path):
    def work(item):
        if item == 3:
            raise UserError("three")
        return {"square": item * item}

    journal = tmp_path / "journal"
    for state, before in (("a", 3), ("b", 3)):
        with pytest.raises(UserError, match="three"):
            run_all(range(5), "abcde", work, journal, state=state)
        assert len(journal.read_text().splitlines()) == 1 + before
    records = run_all(range(5), "abcde", lambda item: {"square": -item}, journal, state="b")
    assert [record["square"] for record in records] == [0, 1, 4, -3, -4]


def test_beside_zips_files_are_made_in_their_folder(zipped, tmp_path):
    shutil.copy(zipped["ade20k"] / "ADEChallengeData2016.zip", tmp_path)
    paths = prepare("ade20k", tmp_path, ["val"])
    assert paths[0] == tmp_path / "ADEChallengeData2016/ade20k_panoptic_val.json"
    assert len(open_dataset("ade20k", tmp_path, "val", task="panoptic")) == 2
    with pytest.raises(UserError, match="ADEChallengeData2016.zip: files cannot be made in a zip"):
        prepare("ade20k", tmp_path / "ADEChallengeData2016.zip", ["val"])


def test_coco_pngs_that_are_packed_twice(with_objects, tmp_path):
    source = with_objects["coco"]
    shutil.copytree(source / "val2017", tmp_path / "val2017")
    inner = shutil.make_archive(
        str(tmp_path / "panoptic_val2017"), "zip", source / "annotations", "panoptic_val2017"
    )
    folder = tmp_path / "in/annotations"
    folder.mkdir(parents=True)
    shutil.move(inner, folder / "panoptic_val2017.zip")
    shutil.copy(source / "annotations/panoptic_val2017.json", folder)
    shutil.make_archive(str(tmp_path / "panoptic_annotations"), "zip", tmp_path / "in", "annotations")
    shutil.rmtree(tmp_path / "in")
    with pytest.raises(UserError, match="panoptic_val2017"):
        open_dataset("coco", tmp_path, "val", task="panoptic")
    assert prepare("coco", tmp_path) == [tmp_path / "annotations/panoptic_val2017.zip"]
    expected = open_dataset("coco", source, "val", task="panoptic")[1]
    found = open_dataset("coco", tmp_path, "val", task="panoptic")[1]
    assert (found.instances == expected.instances).all() and found.crowd == expected.crowd
    assert prepare("coco", tmp_path) == [] and (open_root(tmp_path) / "val2017").is_dir()


def test_ids_of_classes_are_theirs_alone():
    """In the class list road and skyscraper have one colour; the released preparation moved one of them."""
    info = categories.ade20k()
    assert len(set(COLORS)) == 150 and len(set(info.colors)) == 149
    moved = [label for label in range(150) if COLORS[label] != info.colors[label]]
    assert [info.classes[label] for label in moved] == ["skyscraper"] and COLORS[moved[0]] == (140, 140, 200)
