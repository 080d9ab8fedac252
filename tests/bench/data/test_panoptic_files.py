from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.data import open_dataset
from bench.data.classes import dataset_classes
from bench.data.panoptic_files import read_segments
from bench.errors import UserError

NAME = "embedded_val_000000"
JSON = "validation/panoptic/panoptic_2018.json"


@pytest.fixture
def root(with_objects, tmp_path) -> Path:
    return Path(shutil.copytree(with_objects["mapillary"], tmp_path / "mapillary"))


def picture(ids: dict[int, slice]) -> Image.Image:
    """64x96 pixels: the ids on these rows, void elsewhere."""
    found = np.zeros((64, 96, 3), np.uint8)
    for segment, rows in ids.items():
        found[rows] = segment & 255, segment >> 8 & 255, segment >> 16
    return Image.fromarray(found)


def write(root: Path, segments: list[dict[str, int]], ids: dict[int, slice]) -> None:
    """One image of these segments, the other as it was."""
    content = json.loads((root / JSON).read_text())
    content["annotations"][0]["segments_info"] = segments
    (root / JSON).write_text(json.dumps(content))
    picture(ids).save(root / f"validation/panoptic/{NAME}.png")


def row(segment: int, category: int, crowd: int = 0) -> dict[str, int]:
    return {"id": segment, "category_id": category, "iscrowd": crowd}


def opened(root: Path):
    return open_dataset("mapillary", root, "val", task="panoptic")


def test_segments_become_classes_objects_and_crowds(root):
    segments = [row(70_000, 56), row(300, 28), row(9, 56, crowd=1), row(4, 1), row(5, 28)]
    write(
        root, segments,
        {70_000: slice(0, 10), 300: slice(10, 20), 9: slice(20, 30), 4: slice(30, 40), 5: slice(40, 50)},
    )  # fmt: skip
    sample = opened(root)[0]
    assert sample.semantic[::10, 0].tolist() == [55, 27, 55, 0, 27, 255, 255]  # car, sky, car, bird, sky
    assert sample.instances[::10, 0].tolist() == [1, 0, 2, 3, 0, 0, 0] and sample.crowd == {2}


def test_a_crowd_of_stuff_is_kept_apart(root):
    write(root, [row(1, 28, crowd=1), row(2, 28)], {1: slice(0, 20), 2: slice(20, 64)})
    sample = opened(root)[0]
    assert sample.instances[[0, 20], 0].tolist() == [1, 0] and sample.crowd == {1}


def test_a_png_that_the_json_does_not_explain(root):
    write(root, [row(7, 28)], {7: slice(0, 20), 8: slice(20, 30), 9: slice(30, 64)})
    expected = rf"{NAME}.png: segment 8 on 960 pixels \(and 1 more\) is not in .*panoptic_2018.json"
    with pytest.raises(UserError, match=expected):
        opened(root)[0]


def test_a_json_that_the_png_does_not_show(root):
    write(root, [row(7, 28), row(8, 56)], {7: slice(0, 64)})
    expected = rf"panoptic_2018.json: segment 8 of {NAME} is not in .*{NAME}.png"
    with pytest.raises(UserError, match=expected):
        opened(root)[0]


def test_segments_that_cannot_be(root):
    write(root, [row(7, 99)], {7: slice(0, 64)})
    expected = f"segment 7 of {NAME} has the category 99, but mapillary has 65 categories from 1 to 65"
    with pytest.raises(UserError, match=expected):
        opened(root)
    write(root, [row(7, 28), row(7, 27)], {7: slice(0, 64)})
    with pytest.raises(UserError, match=f"{NAME} has segments without an id of their own"):
        opened(root)
    write(root, [row(0, 28)], {})
    with pytest.raises(UserError, match=f"{NAME} has segments without an id of their own"):
        opened(root)


@pytest.mark.parametrize("crowd", [None, "0", 2, [1]])
def test_a_segment_that_does_not_say_whether_it_is_a_crowd(root, crowd):
    """As an official segment it would count in PQ."""
    segment = row(7, 28) | {"iscrowd": crowd}
    if crowd is None:
        del segment["iscrowd"]
    write(root, [segment], {7: slice(0, 64)})
    with pytest.raises(UserError, match=r"panoptic_2018.json: not panoptic labels .*iscrowd.*expected"):
        opened(root)


def test_files_that_are_not_there(root):
    picture_of = root / f"validation/panoptic/{NAME}.png"
    kept = picture_of.read_bytes()
    picture_of.unlink()
    with pytest.raises(UserError, match=f"{NAME}.png: no label map at .*{NAME}.png .1 of 2 images have none"):
        opened(root)
    picture_of.write_bytes(kept)
    image = root / f"validation/images/{NAME}.png"
    image.rename(root / "image.png")
    with pytest.raises(UserError, match=f"panoptic_2018.json: no image .*{NAME}.jpg for the labels of"):
        opened(root)
    (root / "image.png").rename(image)
    content = json.loads((root / JSON).read_text())
    del content["annotations"][0]
    (root / JSON).write_text(json.dumps(content))
    with pytest.raises(UserError, match=f"{NAME}.png: .*panoptic_2018.json says nothing about it"):
        opened(root)
    (root / JSON).unlink()
    with pytest.raises(UserError, match="panoptic_2018.json: no such file"):
        opened(root)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("{", "not JSON"),
        ("[]", "not JSON of an object of arrays .at byte 0"),
        ("{}", "has no array 'annotations'"),
        ('{"annotations": [{"file_name": "a.png", "segments_info": [{"id": "x"}]}]}', "not panoptic labels"),
        (
            '{"annotations": [{"file_name": "a.png", "segments_info": [{"id": 1}]}]}',
            "not panoptic labels .KeyError.'category_id'",
        ),
        (
            '{"annotations": [{"file_name": "a.png", "segments_info": []}, '
            '{"file_name": "b/a.png", "segments_info": []}]}',
            "two images of the name a",
        ),
    ],
)
def test_files_that_are_no_panoptic_json(content, fault, tmp_path):
    (tmp_path / "p.json").write_text(content)
    with pytest.raises(UserError, match=f"p.json: {fault}"):
        read_segments(tmp_path / "p.json", dataset_classes("mapillary"))
