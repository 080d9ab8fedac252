"""The files of `predict`, read back with PIL, numpy, json and pycocotools alone."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as rle

from bench.cli import main
from bench.data import open_dataset, synthetic
from bench.data.classes import dataset_classes
from bench.data.panoptic import panoptic, panoptic_picture
from bench.data.resize import to_pil
from bench.evaluate import PanopticQuality, TestSpec, pq_compute
from bench.evaluate.scores import panoptic_segments
from bench.predict import Predictor, categories, names
from bench.tasks import task_info
from models.inference import Instances, Panoptic, Segment

SMALL = {
    "backbone.layers": [1, 1, 1, 1],
    "backbone.width": 8,
    "pixel_decoder.layers": 1,
    "decoder.schedule": [32],
    "inference.object_threshold": 0.0,
    "inference.overlap_threshold": 0.0,
}
PRESET = "mask2former_r50_ade20k"


class Fixed(torch.nn.Module):
    """Finds what it is told."""

    size_divisor = 32

    class inference:
        tasks = ("semantic", "panoptic", "instance")

    def __init__(self, found):
        super().__init__()
        self.inference = type("Found", (Fixed.inference,), {"panoptic": lambda *_: [found],
                                                            "instances": lambda *_: [found]})()  # fmt: skip

    def forward(self, images):
        return None


@pytest.fixture
def photos(tmp_path):
    """Three pictures, two of which have the same name."""
    paths = [tmp_path / "a" / "x.png", tmp_path / "b" / "x.png", tmp_path / "000000000139.jpg"]
    for i, path in enumerate(paths):
        path.parent.mkdir(exist_ok=True)
        colours = np.random.default_rng(i).integers(0, 255, (40 + 8 * i, 64, 3), dtype=np.uint8)
        Image.fromarray(colours).save(path)
    return paths


def options(task):
    changes = [f"{path}={json.dumps(value)}" for path, value in SMALL.items()]
    return ["--preset", PRESET, "--task", task, *(word for text in changes for word in ("--set", text))]


def test_panoptic_files_are_read_by_others(photos, tmp_path, capsys):
    torch.manual_seed(0)
    out = tmp_path / "out"
    assert main(["predict", *options("panoptic"), "--out", str(out), *map(str, photos)]) == 0
    said = capsys.readouterr().out
    assert "weights: random" in said and f"wrote {out / 'panoptic.json'}" in said
    content = json.loads((out / "panoptic.json").read_text())
    assert {c["id"] for c in content["categories"]} == set(range(150))
    assert sum(c["isthing"] for c in content["categories"]) == 100
    assert [image["id"] for image in content["images"]] == [1, 2, 139]
    found = 0
    for image, annotation in zip(content["images"], content["annotations"], strict=True):
        colour = np.asarray(Image.open(out / annotation["file_name"])).astype(np.int64)
        assert colour.shape == (image["height"], image["width"], 3) and annotation["image_id"] == image["id"]
        ids = colour @ np.array([1, 256, 256**2])
        listed = {segment["id"]: segment for segment in annotation["segments_info"]}
        assert set(np.unique(ids)) - {0} == set(listed)
        semantic = np.asarray(Image.open(out / annotation["file_name"].replace("panoptic", "semantic")))
        for number, segment in listed.items():
            rows, columns = np.nonzero(ids == number)
            assert segment["area"] == len(rows)
            left, top, width, height = segment["bbox"]
            assert (left, top) == (columns.min(), rows.min())
            assert (width, height) == (np.ptp(columns) + 1, np.ptp(rows) + 1)
            assert (semantic[ids == number] == segment["category_id"]).all()
            found += 1
    assert found > 3
    kinds, stems = ("overlay", "semantic", "panoptic"), ("a_x", "b_x", "000000000139")
    pictures = {f"{name}_{kind}.png" for name in stems for kind in kinds}
    assert {path.name for path in out.iterdir()} == pictures | {"panoptic.json"}
    scores = pq_compute(out / "panoptic.json", out / "panoptic.json", out, out)
    assert scores["All"]["pq"] == 1.0


def test_instance_files_are_cocos_results(photos, tmp_path):
    torch.manual_seed(0)
    out = tmp_path / "out"
    assert main(["predict", *options("instance"), "--out", str(out), *map(str, photos[:1])]) == 0
    results = json.loads((out / "instances.json").read_text())
    assert len(results) > 3 and {r["image_id"] for r in results} == {1}
    scores = [r["score"] for r in results]
    assert scores == sorted(scores, reverse=True) and 0 <= scores[-1] and scores[0] <= 1
    for result in results:
        mask = rle.decode(result["segmentation"])
        assert mask.shape == (40, 64)
        assert list(rle.toBbox(result["segmentation"])) == result["bbox"]
    assert {path.name for path in out.iterdir()} == {"x_overlay.png", "x_semantic.png", "instances.json"}


COCO = task_info(dataset_classes("coco"), "panoptic")


def predictor(tmp_path, found, task):
    return Predictor(Fixed(found), COCO, task, TestSpec(), "cpu", tmp_path / "out")


def test_ids_above_255_and_official_categories(photos, tmp_path):
    ids = torch.zeros(40, 64, dtype=torch.int32)
    ids[:10], ids[10:20] = 70_000, 256
    segments = [Segment(70_000, 79, True), Segment(256, 132, False), Segment(9, 3, True)]
    files = list(predictor(tmp_path, Panoptic(ids, segments), "panoptic").run(photos[:1]))
    assert [file.name for file in files] == [
        "x_overlay.png", "x_semantic.png", "x_panoptic.png", "panoptic.json",
    ]  # fmt: skip
    picture = np.asarray(Image.open(tmp_path / "out" / "x_panoptic.png"))
    assert picture[0, 0].tolist() == [112, 17, 1] and picture[15, 0].tolist() == [0, 1, 0]
    (annotation,) = json.loads(files[-1].read_text())["annotations"]
    assert annotation["segments_info"] == [
        {"id": 70_000, "category_id": 90, "isthing": 1, "area": 640, "bbox": [0, 0, 64, 10], "iscrowd": 0},
        {"id": 256, "category_id": 200, "isthing": 0, "area": 640, "bbox": [0, 10, 64, 10], "iscrowd": 0},
    ]  # the third has no pixel left


def test_files_and_memory_give_the_same_quality(tmp_path):
    sample = open_dataset("embedded", size=(96, 128), length=1)[0]
    info = synthetic.INFO
    truth, segments = panoptic(sample, info)
    moved = truth.roll(2, 1)
    shown = [Segment(s["id"], s["category_id"], bool(s["isthing"])) for s in segments]
    image = tmp_path / "7.png"
    to_pil(sample.image).save(image)
    out = tmp_path / "out"
    list(Predictor(Fixed(Panoptic(moved, shown)), info, "panoptic", TestSpec(), "cpu", out).run([image]))
    panoptic_picture(truth).save(tmp_path / "truth.png")
    annotation = {"image_id": 7, "file_name": "truth.png", "segments_info": segments}
    content = {"annotations": [annotation], "categories": categories(info)}
    (tmp_path / "truth.json").write_text(json.dumps(content))
    files = pq_compute(tmp_path / "truth.json", out / "panoptic.json", tmp_path, out)
    quality = PanopticQuality({label: label in info.things for label in range(12)})
    quality.add(truth.numpy(), segments, moved.numpy(), panoptic_segments(Panoptic(moved, shown)))
    assert files == quality.results() and 0.3 < files["All"]["pq"] < 0.99


def test_nothing_found(photos, tmp_path):
    nothing = Panoptic(torch.zeros(40, 64, dtype=torch.int32), [])
    *_, file = predictor(tmp_path, nothing, "panoptic").run(photos[:1])
    assert json.loads(file.read_text())["annotations"][0]["segments_info"] == []
    masks, labels = torch.zeros(0, 40, 64, dtype=torch.bool), torch.zeros(0, dtype=torch.int64)
    none = Instances(masks, labels, torch.zeros(0))
    *_, file = predictor(tmp_path, none, "instance").run(photos[:1])
    assert json.loads(file.read_text()) == []


def test_only_confident_objects_are_drawn_and_the_best_is_on_top(photos, tmp_path):
    masks = torch.zeros(3, 40, 64, dtype=torch.bool)
    masks[0, :20], masks[1, 10:30], masks[2] = True, True, True
    objects = Instances(masks, torch.tensor([4, 5, 6]), torch.tensor([0.6, 0.9, 0.1]))
    files = list(predictor(tmp_path, objects, "instance").run(photos[:1]))
    semantic = np.asarray(Image.open(files[1]))
    assert semantic[:, 0].tolist() == [4] * 10 + [5] * 20 + [255] * 10
    assert [r["category_id"] for r in json.loads(files[-1].read_text())] == [6, 5, 7]


def test_names_tell_images_apart(tmp_path):
    def named(*paths):
        return list(names([tmp_path / path for path in paths]).values())

    assert named("a/x.jpg", "b/y.jpg") == ["x", "y"]
    assert named("a/x.jpg", "b/x.jpg", "z.jpg") == ["a_x", "b_x", "z"]
    assert named("x.jpg", "x.png") == ["x_jpg", "x_png"]
    assert named("a/X.jpg", "b/x.jpg") == ["a_X", "b_x"]
    assert named("k/a/x.jpg", "l/a/x.jpg") == ["k_a_x", "l_a_x"]
    assert named("x.jpg", "./x.jpg") == ["x"]
    clash = named("a_b/c.jpg", "a/b_c.jpg", "a/b/c.jpg")
    assert len({name.lower() for name in clash}) == 3


def test_categories_have_the_official_ids():
    listed = categories(COCO)
    assert listed[0] == {"id": 1, "name": "person", "isthing": 1, "color": [220, 20, 60]}
    assert listed[80]["id"] == 92 and listed[80]["isthing"] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--preset", PRESET, "--task", "panoptic", "--multi-scale"],
            "semantic segmentation only, not for panoptic",
        ),
        (["--preset", "pft_r50_ade20k", "--task", "panoptic"], "gives semantic results, not panoptic ones"),
        (["--preset", PRESET, "--dataset", "coco"], "the model has 150 classes, coco has 133"),
        (["--preset", PRESET, "--dataset", "nowhere"], "unknown dataset 'nowhere'"),
    ],
)
def test_what_cannot_be_predicted_is_told(arguments, message, photos, tmp_path, capsys):
    assert main(["predict", *arguments, "--out", str(tmp_path / "out"), str(photos[0])]) == 2
    error = capsys.readouterr().err
    assert message in error and len(error.splitlines()) == 1 and not (tmp_path / "out").exists()
