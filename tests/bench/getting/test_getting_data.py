"""`data get`: downloading and unpacking data sets, and saying where others are to be had."""

import errno
import hashlib
import io
import os
import re
import tarfile
import zipfile
from dataclasses import replace

import pytest

from bench.cli import main
from bench.errors import UserError
from bench.getting import data
from bench.getting.check import Expected
from bench.getting.data import get_data, how_to_get_data, page_of
from bench.getting.extract import unpack
from bench.getting.registry import Part, registry

FILES = {"train/a.txt": b"a" * 5000, "train/deep/b.txt": b"bb", "empty.txt": b""}


def zipped(files=FILES):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("train/", b"")
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred(files=FILES, **odd):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        if odd:
            info = tarfile.TarInfo("odd")
            for key, value in odd.items():
                setattr(info, key, value)
            archive.addfile(info)
    return buffer.getvalue()


def content(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def served(server, monkeypatch):
    """COCO with two parts that are served here: a zip, and a tar that belongs unpacked in "inner"."""
    images, images_url = server.serve("images.zip", zipped())
    labels, labels_url = server.serve("labels.tar", tarred())
    sha1 = hashlib.sha1(images.content).hexdigest()
    parts = (
        Part("images", "images", images_url, "", Expected(len(images.content), "sha1", sha1)),
        Part("labels", "labels", labels_url, "", unpack="inner"),
    )
    coco = replace(registry().datasets["coco"], parts=parts)
    known = replace(registry(), datasets={"coco": coco, "mapillary": registry().datasets["mapillary"]})
    monkeypatch.setattr(data, "registry", lambda: known)
    return images, labels


def test_zips_stay_packed_and_tars_do_not(served, tmp_path, heard):
    paths = get_data("coco", tmp_path, report=heard)
    assert paths == [tmp_path / "images.zip", tmp_path / "labels.tar"]
    found = content(tmp_path)
    assert set(found) == {"images.zip", "labels.tar"} | {f"inner/{name}" for name in FILES}
    assert found["images.zip"] == served[0].content and found["inner/train/a.txt"] == FILES["train/a.txt"]
    assert heard.steps[-1] == ("unpacking labels.tar", 5002, 5002)


def test_a_part_is_got_alone_and_unpacked_on_request(served, tmp_path):
    assert get_data("coco", tmp_path, ["images"], extract=True) == [tmp_path / "images.zip"]
    assert content(tmp_path) == FILES | {"images.zip": served[0].content}
    assert served[1].asked == []


def test_the_command(served, tmp_path, capsys):
    assert main(["data", "get", "coco", "--root", str(tmp_path), "--part", "images"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("COCO 2017, 0.00 MB; licence: annotations: CC-BY-4.0; images: ")
    assert out[1] == f"{tmp_path / 'images.zip'}: 0.00 MB, checked"
    assert out[2].startswith(f"python -m bench data verify --dataset coco --root {tmp_path}")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["mapillary", "--root", "."], "Mapillary Vistas can only be had by hand, at https://www.mapillary.com/dataset/vistas:"),
        (["coco"], "data get coco: where to? give --root DIR"),
        (["coco", "--part", "imges", "--root", "."], "coco has no part 'imges': images, labels"),
        (["kitti", "--root", "."], "unknown data set 'kitti'"),
        (["embedded", "--root", "."], "the embedded data set is generated: there is nothing to get"),
    ],
)  # fmt: skip
def test_the_command_says_what_is_wrong(served, capsys, words, line):
    assert main(["data", "get", *words]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith(f"maskbench: {line}") and err.count("\n") == 1


def test_the_command_lists_what_there_is(capsys):
    assert main(["data", "get"]) == 0
    out = capsys.readouterr().out
    for words in (
        "coco: COCO 2017", "--part train        118,287 training images, 19.34 GB", "by hand: register",
        "images: non-commercial research and education only", "https://www.cityscapes-dataset.com/downloads/",
    ):  # fmt: skip
        assert words in out


def test_pages_are_told():
    assert page_of("cityscapes") == "https://www.cityscapes-dataset.com/downloads/"
    assert how_to_get_data("coco") == "COCO 2017: python -m bench data get coco --root DIR"
    assert how_to_get_data("cityscapes").startswith("Cityscapes can only be had by hand, at https://www.city")
    with pytest.raises(UserError, match="unknown data set 'coca'.*coco"):
        page_of("coca")


@pytest.mark.parametrize(("name", "made"), [("a.zip", zipped), ("a.tar", tarred)])
def test_unpacking_goes_on_where_it_stopped(tmp_path, name, made):
    (tmp_path / name).write_bytes(made())
    folder = tmp_path / "out"
    assert unpack(tmp_path / name, folder) == 3 and content(folder) == FILES
    assert unpack(tmp_path / name, folder) == 0
    (folder / "train" / "a.txt").write_bytes(b"cut off")
    (folder / "train" / "deep" / "b.txt").unlink()
    assert unpack(tmp_path / name, folder) == 2 and content(folder) == FILES


@pytest.mark.parametrize("name", ["../out.txt", "/out.txt", "a/../../out.txt", "a\\out.txt"])
@pytest.mark.parametrize(("kind", "made"), [("a.zip", zipped), ("a.tar", tarred)])
def test_nothing_is_unpacked_outside_of_the_folder(tmp_path, kind, made, name):
    (tmp_path / kind).write_bytes(made({name: b"x"}))
    with pytest.raises(UserError, match="would lie outside of the folder, and is not unpacked"):
        unpack(tmp_path / kind, tmp_path / "inner")
    assert set(content(tmp_path)) == {kind}


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_are_not_unpacked(tmp_path, kind):
    (tmp_path / "a.tar").write_bytes(tarred(type=kind, linkname="/etc/hostname"))
    with pytest.raises(UserError, match=r"a\.tar: odd is a link or a device, and is not unpacked"):
        unpack(tmp_path / "a.tar", tmp_path / "inner")


def test_damaged_archives_are_named(tmp_path):
    whole = zipped()
    (tmp_path / "a.zip").write_bytes(whole[:60] + b"?????" + whole[65:])
    with pytest.raises(UserError, match=r"a\.zip is damaged"):
        unpack(tmp_path / "a.zip", tmp_path / "out")
    assert not list(tmp_path.rglob("*.part"))
    (tmp_path / "b.tar").write_bytes(tarred()[:3000])
    with pytest.raises(UserError, match=r"b\.tar is damaged"):
        unpack(tmp_path / "b.tar", tmp_path / "out")


def test_a_disk_that_becomes_full_is_named(tmp_path, monkeypatch):
    (tmp_path / "a.zip").write_bytes(zipped())

    def full(source, target):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("shutil.copyfileobj", full)
    with pytest.raises(OSError) as error:
        unpack(tmp_path / "a.zip", tmp_path / "out")
    assert error.value.filename.startswith(str(tmp_path / "out")) and content(tmp_path / "out") == {}


def test_zips_with_a_password_are_named(tmp_path):
    data = bytearray(zipped({"a.txt": b"x"}))
    for kind, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        for header in re.finditer(kind, data):
            data[header.start() + flags] |= 1
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(UserError, match=r"a\.zip is encrypted or packed by an unusual method"):
        unpack(tmp_path / "a.zip", tmp_path / "out")
