from __future__ import annotations

import json
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bench.data import categories, open_dataset
from bench.data.export import export
from bench.errors import UserError

LABEL_MAPS = {
    "ade20k": "annotations/training/embedded_train_000001.png",
    "cityscapes": "gtFine/train/export/embedded_train_000001_gtFine_labelIds.png",
    "camvid": "train/masks/embedded_train_000001.png",
}
IMAGES = {
    "ade20k": "images/training/embedded_train_000001.png",
    "cityscapes": "leftImg8bit/train/export/embedded_train_000001_leftImg8bit.png",
    "camvid": "train/images/embedded_train_000001.png",
}
layouts = pytest.mark.parametrize("layout", ["ade20k", "cityscapes", "camvid"])


@pytest.fixture
def copy(exported: dict[str, Path], tmp_path: Path):
    """A copy of an exported dataset that a test may damage."""

    def make(layout: str) -> Path:
        return Path(shutil.copytree(exported[layout], tmp_path / layout))

    return make


@layouts
def test_exported_data_load_back_identically(layout, exported):
    for split, length in (("train", 4), ("val", 2)):
        original = open_dataset("embedded", split=split, size=(64, 96), length=length)
        loaded = open_dataset(layout, exported[layout], split)
        assert len(loaded) == length
        for a, b in zip(original, loaded, strict=True):
            assert torch.equal(a.image, b.image) and torch.equal(a.semantic, b.semantic)
            assert a.name == b.name


def test_camvid_takes_classes_from_its_list(exported):
    original = open_dataset("embedded").info
    info = open_dataset("camvid", exported["camvid"]).info
    assert (info.classes, info.colors, info.things) == (original.classes, original.colors, original.things)


def test_official_class_lists():
    ade, city, cam = categories.ade20k(), categories.cityscapes(), categories.camvid()
    assert (ade.num_classes, city.num_classes, cam.num_classes) == (150, 19, 11)
    assert ade.classes[:3] == ("wall", "building", "sky") and ade.classes[149] == "flag"
    assert ade.colors[0] == (120, 120, 120) and len(ade.things) == 100
    assert city.classes[0] == "road" and city.classes[18] == "bicycle" and city.colors[13] == (0, 0, 142)
    assert [city.classes[i] for i in sorted(city.things)] == [
        "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle",
    ]  # fmt: skip
    assert cam.classes[0] == "Sky" and cam.classes[10] == "Bicyclist" and cam.colors[8] == (64, 0, 128)


def test_cityscapes_label_table():
    table = categories.cityscapes_train_ids()
    assert sorted(table) == list(range(34))
    evaluated = {label: train for label, train in table.items() if train is not None}
    assert list(evaluated.values()) == list(range(19))
    assert list(evaluated) == [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]


def test_ade20k_zero_is_ignored_and_150_is_the_last_class(copy):
    root = copy("ade20k")
    labels = np.zeros((64, 96), np.uint8)
    labels[0, :3] = 1, 150, 2
    Image.fromarray(labels).save(root / LABEL_MAPS["ade20k"])
    semantic = open_dataset("ade20k", root)[1].semantic
    assert semantic[0, :4].tolist() == [0, 149, 1, 255] and (semantic[1:] == 255).all()


def test_ade20k_accepts_the_folder_around_it(copy):
    root = copy("ade20k")
    around = root.parent / "around"
    around.mkdir()
    root.rename(around / "ADEChallengeData2016")
    assert len(open_dataset("ade20k", around, "validation")) == 2


def test_cityscapes_train_ids_where_label_ids_are_absent(copy):
    root = copy("cityscapes")
    expected = [sample.semantic for sample in open_dataset("cityscapes", root)]
    for path in sorted(root.glob("gtFine/train/*/*_labelIds.png")):
        index = int(path.name.split("_")[2])
        path.unlink()
        target = path.with_name(path.name.replace("labelIds", "labelTrainIds"))
        Image.fromarray(expected[index].numpy()).save(target)
    loaded = open_dataset("cityscapes", root)
    assert all(torch.equal(sample.semantic, labels) for sample, labels in zip(loaded, expected, strict=True))


def test_palette_label_maps_give_their_indices(copy):
    root = copy("camvid")
    path = root / LABEL_MAPS["camvid"]
    before = open_dataset("camvid", root)[1].semantic
    with Image.open(path) as labels:
        indexed = labels.convert("L")
    indexed.putpalette([value for value in range(256) for _ in range(3)][::-1])
    assert indexed.mode == "P"
    indexed.save(path)
    assert torch.equal(open_dataset("camvid", root)[1].semantic, before)


def test_grey_images_become_rgb(copy):
    root = copy("camvid")
    Image.new("L", (96, 64), 77).save(root / IMAGES["camvid"])
    image = open_dataset("camvid", root)[1].image
    assert image.shape == (3, 64, 96) and (image == 77).all()


@layouts
def test_missing_folder_says_what_is_expected_and_where_to_get_it(layout, tmp_path):
    with pytest.raises(UserError, match=r"expected ROOT/.*published at http") as caught:
        open_dataset(layout, tmp_path / "nowhere")
    assert str(tmp_path / "nowhere") in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(UserError, match=f"dataset {layout} needs its root folder"):
        open_dataset(layout)


@layouts
def test_unknown_split(layout, exported):
    with pytest.raises(UserError, match=f"{layout} has no split 'vall'; nearest: val"):
        open_dataset(layout, exported[layout], "vall")


@layouts
def test_empty_split(layout, copy):
    root = copy(layout)
    for path in (root / IMAGES[layout]).parent.iterdir():
        path.unlink()
    with pytest.raises(UserError, match="no images found; expected"):
        open_dataset(layout, root)


@layouts
def test_image_without_label_map(layout, copy):
    root = copy(layout)
    (root / LABEL_MAPS[layout]).unlink()
    with pytest.raises(UserError, match=r"1 of 4 images have none") as caught:
        open_dataset(layout, root)
    assert str(root / IMAGES[layout]) in str(caught.value) and str(root / LABEL_MAPS[layout]) in str(
        caught.value
    )


@layouts
def test_sizes_differ(layout, copy):
    root = copy(layout)
    Image.new("L", (40, 30)).save(root / LABEL_MAPS[layout])
    dataset = open_dataset(layout, root)
    assert dataset[0].size == (64, 96)  # the others are as good as before
    with pytest.raises(UserError, match=r"label map of 40x30 pixels .* has 96x64") as caught:
        dataset[1]
    assert str(caught.value).startswith(str(root / LABEL_MAPS[layout]))


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        ("ade20k", r"0 \(ignored\) to 150"),
        ("cityscapes", "label ids 0 to 33"),
        ("camvid", "the ids 0, 1, .* 12"),
    ],
)
def test_id_out_of_range_names_file_id_and_pixels(layout, expected, copy):
    root = copy(layout)
    path = root / LABEL_MAPS[layout]
    labels = np.asarray(Image.open(path)).copy()
    labels[3, 5:12] = 200
    Image.fromarray(labels).save(path)
    with pytest.raises(UserError, match=f"id 200 on 7 pixels; expected {expected}") as caught:
        open_dataset(layout, root)[1]
    assert str(caught.value).startswith(str(path))


def test_ids_beyond_a_byte_and_colour_maps(copy):
    root = copy("ade20k")
    path = root / LABEL_MAPS["ade20k"]
    wide = np.ones((64, 96), np.uint16)
    wide[0, :2] = 1000
    Image.fromarray(wide).save(path)
    with pytest.raises(UserError, match="id 1000 on 2 pixels"):
        open_dataset("ade20k", root)[1]
    wide[0, :2] = 3
    Image.fromarray(wide).save(path)
    assert open_dataset("ade20k", root)[1].semantic[0, :3].tolist() == [2, 2, 0]
    Image.new("RGB", (96, 64)).save(path)
    with pytest.raises(UserError, match="expected one channel of class ids, found 3"):
        open_dataset("ade20k", root)[1]


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@layouts
@pytest.mark.parametrize("files", [IMAGES, LABEL_MAPS])
def test_truncated_png_is_named_or_skipped(layout, files, copy):
    root = copy(layout)
    _truncate(root / files[layout])
    with pytest.raises(UserError, match="truncated or not an image") as caught:
        open_dataset(layout, root)[1]
    assert str(caught.value).startswith(str(root / files[layout]))
    dataset = open_dataset(layout, root, skip_corrupt=True)
    assert [sample.name[-1] for sample in dataset] == ["0", "2", "3"]
    assert len(dataset.skipped) == 1 and dataset.skipped[0].startswith(str(root / files[layout]))


def test_truncated_jpeg_and_empty_and_foreign_files(copy):
    root = copy("camvid")
    path = root / IMAGES["camvid"]
    jpeg = path.with_suffix(".jpg")
    Image.open(path).save(jpeg)
    path.unlink()
    assert open_dataset("camvid", root)[1].size == (64, 96)
    _truncate(jpeg)
    with pytest.raises(UserError, match="000001.jpg: truncated or not an image"):
        open_dataset("camvid", root)[1]
    for content in (b"", b"hello"):
        jpeg.write_bytes(content)
        with pytest.raises(UserError, match="000001.jpg: truncated or not an image"):
            open_dataset("camvid", root)[1]


def test_a_header_that_claims_too_many_pixels(copy):
    root = copy("camvid")
    path = root / IMAGES["camvid"]
    data = bytearray(path.read_bytes())
    data[16:24] = struct.pack(">II", 30000, 30000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    path.write_bytes(data)
    with pytest.raises(UserError, match="not an image .*900000000 pixels") as caught:
        open_dataset("camvid", root)[1]
    assert str(caught.value).startswith(str(path))


def test_nothing_readable_left(copy):
    root = copy("camvid")
    for path in (root / "train" / "images").iterdir():
        path.write_bytes(b"")
    with pytest.raises(UserError, match="no readable sample"):
        open_dataset("camvid", root, skip_corrupt=True)


@pytest.mark.parametrize(
    "content", ["{", "{}", '{"classes": [{"id": 300, "name": "a", "color": [0, 0, 0]}]}', "[]"]
)
def test_wrong_class_list(content, copy):
    root = copy("camvid")
    (root / "classes.json").write_text(content)
    with pytest.raises(UserError, match="classes.json: not a class list"):
        open_dataset("camvid", root)


def test_camvid_without_a_class_list_has_segnets_classes(copy):
    root = copy("camvid")
    (root / "classes.json").unlink()
    Image.fromarray(np.full((64, 96), 11, np.uint8)).save(root / LABEL_MAPS["camvid"])
    dataset = open_dataset("camvid", root)
    assert dataset.info == categories.camvid()
    assert (dataset[1].semantic == 255).all()


def test_checksum_follows_files_and_classes(copy):
    root = copy("camvid")
    before = open_dataset("camvid", root).checksum()
    assert open_dataset("camvid", root).checksum() == before and len(before) == 16
    assert open_dataset("camvid", root, "val").checksum() != before
    Image.new("RGB", (96, 64)).save(root / IMAGES["camvid"])
    changed = open_dataset("camvid", root).checksum()
    assert changed != before
    rows = json.loads((root / "classes.json").read_text())
    rows["classes"][0]["name"] = "heaven"
    (root / "classes.json").write_text(json.dumps(rows))
    assert open_dataset("camvid", root).checksum() not in (before, changed)


def test_export_refuses_what_does_not_fit(exported, tmp_path):
    embedded = open_dataset("embedded", size=64, length=1)
    with pytest.raises(UserError, match="unknown layout 'ade'; nearest: ade20k"):
        export(embedded, "ade", tmp_path)
    with pytest.raises(UserError, match="already exists"):
        export(embedded, "ade20k", exported["ade20k"])
    with pytest.raises(UserError, match="no split 'test'"):
        export(open_dataset("embedded", split="test", size=64, length=1), "ade20k", tmp_path)
    with pytest.raises(UserError, match="150 classes; cityscapes holds 19"):
        export(open_dataset("ade20k", exported["ade20k"]), "cityscapes", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_export_leaves_nothing(tmp_path, monkeypatch):
    embedded = open_dataset("embedded", size=64, length=3)
    original = type(embedded).__getitem__

    def fail_late(self, index):
        if index == 2:
            raise OSError(28, "No space left on device")
        return original(self, index)

    monkeypatch.setattr(type(embedded), "__getitem__", fail_late)
    with pytest.raises(OSError, match="No space left") as caught:
        export(embedded, "camvid", tmp_path / "out")
    assert caught.value.filename == str(tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


@layouts
def test_hidden_files_are_none_of_the_data(layout, copy):
    """macOS leaves ._NAME beside NAME on disks of other systems."""
    root = copy(layout)
    for file in (IMAGES[layout], LABEL_MAPS[layout]):
        path = root / file
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7")
    assert len(open_dataset(layout, root)) == len(open_dataset(layout, root, skip_corrupt=True)) == 4


def test_label_maps_of_fractions(copy):
    root = copy("camvid")
    Image.fromarray(np.full((64, 96), 0.5, np.float32)).save(root / LABEL_MAPS["camvid"], format="TIFF")
    with pytest.raises(UserError, match="000001.png: expected class ids, found numbers of the type float32"):
        open_dataset("camvid", root)[1]
