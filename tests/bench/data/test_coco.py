"""COCO 2017 from tiny folders that are written here: polygons, run lengths, crowds, overlaps, faults."""

from __future__ import annotations

import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as rle

from bench.data import open_dataset
from bench.data.instance_files import _run_lengths
from bench.data.panoptic import panoptic
from bench.data.targets import Targets
from bench.data.transforms import LargeScaleJitterSpec, TrainTransform
from bench.errors import UserError
from bench.evaluate.ap import MaskAP
from bench.evaluate.pq import PanopticQuality
from bench.tasks import TaskView, require_labels
from models.inference import Instances

HEIGHT, WIDTH = 6, 8
PERSON, CAR, RUG = 1, 3, 200
SQUARE = [2, 1, 6, 1, 6, 4, 2, 4]
"""Rows 1 to 3, columns 2 to 5."""


def box(top: int, left: int, bottom: int, right: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[top:bottom, left:right] = True
    return mask


def run_lengths(mask: np.ndarray) -> dict:
    """COCO's plain code: lengths of runs of 0 and 1 in turn, column by column."""
    values = mask.T.reshape(-1)
    edges = np.flatnonzero(np.diff(values)) + 1
    counts = np.diff([0, *edges, values.size]).tolist()
    return {"size": [HEIGHT, WIDTH], "counts": [0, *counts] if values[0] else counts}


def compressed(mask: np.ndarray) -> dict:
    code = rle.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": code["size"], "counts": code["counts"].decode()}


def annotation(number: int, image: int, category: int, segmentation, crowd=0, area=7.5) -> dict:
    return {
        "id": number, "image_id": image, "category_id": category, "segmentation": segmentation,
        "iscrowd": crowd, "area": area, "bbox": [0, 0, 1, 1],
    }  # fmt: skip


def listed(number: int) -> dict:
    return {"id": number, "file_name": f"{number:012d}.jpg", "height": HEIGHT, "width": WIDTH}


ANNOTATIONS = [
    annotation(11, 7, PERSON, [SQUARE]),
    annotation(12, 9, PERSON, run_lengths(box(0, 0, 3, 3)), crowd=1),
    annotation(13, 7, CAR, [SQUARE, [0, 0, 2, 0, 2, 1, 0, 1]], area=14.25),  # lies over the person
    annotation(14, 7, PERSON, run_lengths(box(4, 0, 6, 8)), crowd=1),
    annotation(15, 3, CAR, compressed(box(0, 5, 6, 8))),
]
"""Of the images 3, 7, 9 and 10: 9 has nothing but a crowd, 10 nothing."""

PANOPTIC = {
    3: [(501, PERSON, 0, box(0, 0, 2, 3)), (70_000, RUG, 0, box(2, 0, 6, 8))],
    7: [(9, CAR, 0, box(0, 0, 6, 2)), (8, CAR, 1, box(0, 2, 3, 8)), (7, RUG, 0, box(3, 2, 6, 7))],
}


def write_coco(root: Path, split: str = "val2017") -> Path:
    """A COCO root with four images, instance labels of all and panoptic labels of two."""
    drawn = root / "annotations" / f"panoptic_{split}"
    drawn.mkdir(parents=True)
    (root / split).mkdir()
    for number in (10, 9, 7, 3):
        Image.new("RGB", (WIDTH, HEIGHT), (number, 0, 0)).save(root / split / f"{number:012d}.jpg")
    images = [listed(number) for number in (10, 9, 7, 3)]
    write(root, f"instances_{split}", {"info": {}, "images": images, "annotations": ANNOTATIONS})
    records = []
    for number, segments in PANOPTIC.items():
        ids = np.zeros((HEIGHT, WIDTH), np.uint32)
        for segment, _, _, mask in segments:
            ids[mask] = segment
        picture = np.stack([ids & 255, ids >> 8 & 255, ids >> 16], -1).astype(np.uint8)
        Image.fromarray(picture).save(drawn / f"{number:012d}.png")
        infos = [
            {"id": i, "category_id": category, "iscrowd": crowd, "area": int(mask.sum())}
            for i, category, crowd, mask in segments
        ]
        record = {"image_id": number, "file_name": f"{number:012d}.png", "segments_info": infos}
        records.append(record)
    write(root, f"panoptic_{split}", {"annotations": records, "images": [listed(3), listed(7)]})
    return root


def write(root: Path, name: str, content: object) -> None:
    (root / "annotations" / f"{name}.json").write_text(json.dumps(content, indent=1))


def read(root: Path, name: str) -> dict:
    return json.loads((root / "annotations" / f"{name}.json").read_text())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_coco(tmp_path / "coco")


@pytest.fixture
def both(tmp_path: Path) -> Path:
    return write_coco(write_coco(tmp_path / "coco"), "train2017")


def instances(root: Path, split: str = "val"):
    return open_dataset("coco", root, split, task="instance")


def test_masks_of_polygons_and_run_lengths(root):
    data = instances(root)
    assert [sample.name for sample in data] == [f"{i:012d}" for i in (3, 7, 9, 10)]
    objects = data[1].objects
    assert objects.labels.tolist() == [0, 2, 0] and objects.labels.dtype == torch.int64
    assert objects.crowd.tolist() == [False, False, True]
    assert objects.areas.tolist() == [7.5, 14.25, 7.5]  # as in the JSON: the polygons' own are 12 and 14
    expected = [box(1, 2, 4, 6), box(1, 2, 4, 6) | box(0, 0, 1, 2), box(4, 0, 6, 8)]
    assert objects.masks.dtype == torch.bool and np.array_equal(objects.masks.numpy(), np.stack(expected))
    assert np.array_equal(data[0].objects.masks.numpy(), box(0, 5, 6, 8)[None])
    assert (data[1].semantic == 255).all() and data[1].instances is None


@pytest.mark.parametrize("seed", range(6))
def test_compressed_run_lengths_are_those_of_pycocotools(seed):
    generator = np.random.default_rng(seed)
    height, width = generator.integers(1, 90, 2).tolist()
    mask = generator.random((height, width)) < (0.5 if seed % 2 else 0.02)
    counts = _run_lengths(rle.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode())
    values = np.repeat(np.arange(len(counts)) % 2, counts)
    assert np.array_equal(values.reshape(width, height).T, mask)


def test_an_image_without_objects_is_evaluated_but_not_trained_on(both):
    nothing = instances(both)[3].objects
    assert nothing.masks.shape == (0, HEIGHT, WIDTH) and len(nothing) == 0
    assert [sample.name for sample in instances(both, "train")] == ["000000000003", "000000000007"]


def test_crowds_and_emptied_objects_are_no_targets(root):
    data = TaskView(instances(root), "instance")
    require_labels(data, "instance")
    targets = Targets("instance", data.info.things)
    assert targets(data[1]).labels.tolist() == [0, 2] and targets(data[2]).masks.shape == (0, HEIGHT, WIDTH)
    assert targets.truth(data[1]).crowd.tolist() == [False, False, True]
    transform = TrainTransform(LargeScaleJitterSpec(crop=(2, 2), low=4.0, high=4.0, flip=0.0))
    kept = set()
    for seed in range(30):
        found = transform(data[1], torch.Generator().manual_seed(seed))
        assert len(found.objects) == 3 and found.objects.areas is None
        target = targets(found)
        assert target.masks.flatten(1).any(1).all()
        kept.add(len(target.labels))
    assert kept == {0, 1, 2}


def test_instance_labels_have_no_classes_by_pixel(root):
    for task in ("semantic", "panoptic"):
        with pytest.raises(UserError, match=f"coco is read without .* {task} needs"):
            require_labels(instances(root), task)


def test_panoptic_labels(root):
    data = open_dataset("coco", root, "val", task="panoptic")
    assert [sample.name for sample in data] == ["000000000003", "000000000007"]
    first, second = data
    assert first.semantic[0, 0] == 0 and first.semantic[0, 4] == 255 and first.semantic[5, 7] == 132
    assert first.instances.unique().tolist() == [0, 1] and first.crowd == frozenset()
    assert second.instances[0].tolist() == [1, 1] + [2] * 6 and second.crowd == {2}
    ids, segments = panoptic(second, data.info)
    rows = [(s["category_id"], s["isthing"], s["iscrowd"], s["area"]) for s in segments]
    assert rows == [(2, 1, 0, 12), (2, 1, 1, 18), (132, 0, 0, 15)]
    assert int((ids == 0).sum()) == 3
    semantic = open_dataset("coco", root, "val")
    assert torch.equal(semantic[1].semantic, second.semantic)
    target = Targets("panoptic", data.info.things)(second)
    assert target.labels.tolist() == [2, 132] and target.masks.flatten(1).sum(1).tolist() == [12, 15]


def test_truth_as_prediction_is_perfect(root):
    data = open_dataset("coco", root, "val", task="panoptic")
    quality = PanopticQuality({label: label in data.info.things for label in range(133)})
    for sample in data:
        ids, segments = panoptic(sample, data.info)
        found = [s for s in segments if not s["iscrowd"]]  # on a crowd nothing counts: here it is void
        drawn = torch.where(torch.isin(ids, torch.tensor([s["id"] for s in found])), ids, 0)
        quality.add(ids.numpy(), segments, drawn.numpy(), found, sample.name)
    assert quality.results()["All"] == {"pq": 1.0, "sq": 1.0, "rq": 1.0, "n": 3}
    things = TaskView(instances(root), "instance")
    truth = Targets("instance", things.info.things).truth
    precision = MaskAP(80)
    for sample in things:
        objects = truth(sample)
        own = objects.where(~objects.crowd)
        found = Instances(own.masks, own.labels, torch.ones(len(own)))
        precision.add(objects.labels, objects.masks, found, objects.crowd, objects.areas)
    scores = precision.scores()
    assert scores["AP"] == pytest.approx(100) and scores["per_class"][2] == pytest.approx(100)


def test_zips_give_what_folders_give(root, tmp_path):
    packed = tmp_path / "zips"
    packed.mkdir()
    parts = {"val2017.zip": "val2017", "annotations_trainval2017.zip": "annotations"}
    for name, folder in parts.items():
        with zipfile.ZipFile(packed / name, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted((root / folder).rglob("*.*")):
                archive.write(file, file.relative_to(root))
    for task in ("panoptic", "instance"):
        plain, zipped = (open_dataset("coco", place, "val", task=task) for place in (root, packed))
        assert len(plain) == len(zipped) and plain.checksum() == zipped.checksum()
        for one, other in zip(*pickle.loads(pickle.dumps((plain, zipped))), strict=True):
            assert torch.equal(one.image, other.image) and torch.equal(one.semantic, other.semantic)
            if task == "instance":
                assert torch.equal(one.objects.masks, other.objects.masks)
            else:
                assert torch.equal(one.instances, other.instances) and one.crowd == other.crowd


def test_the_checksum_covers_the_labels(root):
    before = instances(root).checksum()
    content = read(root, "instances_val2017")
    content["annotations"][0]["area"] = 10
    write(root, "instances_val2017", content)
    assert instances(root).checksum() != before


def change(root: Path, name: str, edit) -> None:
    content = read(root, name)
    edit(content)
    write(root, name, content)


def set_annotation(place: int, **values):
    return lambda content: content["annotations"][place].update(values)


def sized(height: int, counts) -> dict:
    return {"segmentation": {"size": [height, WIDTH], "counts": counts}}


BAD_ANNOTATIONS = {
    "unknown category": (0, {"category_id": 12}, "annotation 11 of 000000000007 has the category 12, but"),
    "stuff": (0, {"category_id": RUG}, "annotation 11 of 000000000007 has the category 200, but coco has 80"),
    "no category": (0, {"category_id": [1]}, r"annotation 11 .* category \[1\]"),
    "half a crowd": (0, {"iscrowd": "0"}, "annotation 11 .*: iscrowd is '0', expected 0 or 1"),
    "no area": (0, {"area": "large"}, "annotation 11 .* has the area large"),
    "two points": (2, {"segmentation": [[0, 0, 2, 0]]}, "annotation 13 .*3 points or more"),
    "no polygon": (2, {"segmentation": []}, "annotation 13 .*expected polygons"),
    "far away": (2, {"segmentation": [[0, 0, 1e9, 0, 1, 1]]}, "annotation 13 .*near the image"),
    "none": (2, {"segmentation": None}, "annotation 13 .*as polygons or as size and counts"),
    "another size": (3, sized(5, [40]), r"annotation 14 .*size \[5, 8\], image \[6, 8\]"),
    "too few pixels": (3, sized(6, [4, 4]), "annotation 14 .*lengths of 8 pixels, image of 48"),
    "damaged counts": (3, sized(6, "~~~"), "annotation 14 .*run lengths"),
    "negative counts": (3, sized(6, [-1, 49]), "annotation 14 .*numbers from 0"),
}


@pytest.mark.parametrize("fault", BAD_ANNOTATIONS)
def test_a_bad_annotation_is_named(root, fault):
    place, values, message = BAD_ANNOTATIONS[fault]
    change(root, "instances_val2017", set_annotation(place, **values))
    with pytest.raises(UserError, match=rf"instances_val2017.json: {message}") as raised:
        instances(root)[1]
    assert "\n" not in str(raised.value)


BAD_LISTS = {
    "unlisted image": (set_annotation(1, image_id=8), "annotation 12 is of image 8, which is not listed"),
    "no image id": (lambda c: c["annotations"][1].pop("image_id"), "not instance labels.*'image_id'"),
    "twice": (lambda c: c["images"].append(listed(7)), "two images of the id 7"),
    "no images": (lambda c: c.update(images=[], annotations=[]), "lists no image with labels"),
    "endless image": (lambda c: c["images"][0].update(height=10**9), "not instance labels.*image 10 of"),
    "no annotations": (lambda c: c.pop("annotations"), "has no array 'annotations'"),
    "image not there": (lambda c: c["images"].append(listed(8)), r"no image .*000000000008.jpg \(1 of 5 are"),
}  # fmt: skip


@pytest.mark.parametrize("fault", BAD_LISTS)
def test_a_bad_list_is_told_when_it_is_opened(root, fault):
    edit, message = BAD_LISTS[fault]
    change(root, "instances_val2017", edit)
    with pytest.raises(UserError, match=rf"instances_val2017.json: {message}"):
        instances(root)


ABSENT = {"id": 5, "category_id": 1, "iscrowd": 0}


def set_segment(place: int, **values):
    return lambda content: content["annotations"][1]["segments_info"][place].update(values)


def test_panoptic_json_and_png_must_match(root):
    name = "panoptic_val2017"
    original = read(root, name)
    change(root, name, set_segment(2, id=6))
    with pytest.raises(
        UserError, match=r"panoptic_val2017/000000000007.png: segment 7 on 15 pixels is not in"
    ):
        open_dataset("coco", root, "val")[1]
    write(root, name, original)
    change(root, name, lambda c: c["annotations"][1]["segments_info"].append(ABSENT))
    with pytest.raises(UserError, match=r"panoptic_val2017.json: segment 5 of 000000000007 is not in .*.png"):
        open_dataset("coco", root, "val")[1]
    write(root, name, original)
    change(root, name, set_segment(0, category_id=12))
    with pytest.raises(UserError, match="panoptic_val2017.json: segment 9 .*category 12, but coco has 133"):
        open_dataset("coco", root, "val")[1]


def test_files_must_be_there_and_of_one_size(root):
    (root / "annotations/panoptic_val2017/000000000003.png").unlink()
    with pytest.raises(UserError, match=r"val2017/000000000003.jpg: no label map at .*000000000003.png"):
        open_dataset("coco", root, "val")
    image = root / "val2017/000000000007.jpg"
    Image.new("RGB", (WIDTH, HEIGHT + 1)).save(image)
    with pytest.raises(UserError, match=r"8x6 pixels .* but its image .*000000000007.jpg has 8x7"):
        instances(root)[1]
    image.unlink()
    with pytest.raises(UserError, match=r"instances_val2017.json: no image .*000000000007.jpg \(1 of 4"):
        instances(root)


def test_what_is_missing_is_said(root):
    with pytest.raises(UserError, match=r"dataset coco: no folder .*train2017: expected .*cocodataset.org"):
        open_dataset("coco", root, "train")
    with pytest.raises(UserError, match="coco has no split 'test'"):
        open_dataset("coco", root, "test")
    (root / "annotations/instances_val2017.json").unlink()
    with pytest.raises(UserError, match=r"instances_val2017.json: no such file"):
        instances(root)
