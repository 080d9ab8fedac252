from __future__ import annotations

import pickle
import random
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bench.data.archive import Zipped, open_root
from bench.data.zipped import UnreadableFile
from bench.errors import UserError


def make_zip(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def contents(root: Zipped | Path) -> dict[str, bytes]:
    found = {}
    for path in root.iterdir():
        if path.is_dir():
            found |= {f"{path.name}/{name}": content for name, content in contents(path).items()}
        else:
            found[path.name] = path.read_bytes()
    return found


def test_a_zip_reads_as_the_folder_it_was_made_of(tmp_path):
    files = {"a/b/1.txt": b"one" * 1000, "a/b/2.txt": b"two", "a/3.txt": b"", "4.txt": bytes(range(256))}
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        root = open_root(make_zip(tmp_path / f"{method}.zip", files, method))
        assert contents(root) == files
        assert (root / "a" / "b" / "1.txt").stat().st_size == 3000
        assert sorted(path.name for path in (root / "a").iterdir()) == ["3.txt", "b"]
        assert sorted(path.stem for path in root.glob("*/b/*.txt")) == ["1", "2"]
        assert (root / "a/b/1.txt").open().read(3) == b"one" and (root / "a/b").parent == root / "a"
        assert (root / "a/b/1.txt").with_name("2.txt").read_text() == "two"
        assert str(root / "a/3.txt") == f"{tmp_path}/{method}.zip/a/3.txt"
        assert [(root / name).is_dir() for name in ("a", "a/b", "4.txt", "c")] == [True, True, False, False]
        assert [(root / name).is_file() for name in ("a", "a/b", "4.txt", "c")] == [False, False, True, False]


def test_paths_of_windows_are_paths(tmp_path):
    files = {"a\\b\\1.txt": b"one", "a\\c\\": b"", "a\\._2.txt": b"junk"}
    assert contents(open_root(make_zip(tmp_path / "a.zip", files))) == {"a/b/1.txt": b"one"}


def test_folders_without_zips_stay_as_they_are(tmp_path):
    assert open_root(tmp_path) == tmp_path and open_root(tmp_path / "none") == tmp_path / "none"


def test_zips_and_files_of_a_folder_are_one(tmp_path):
    make_zip(tmp_path / "images.zip", {"images/1.jpg": b"1", "images/2.jpg": b"2"})
    junk = {"__MACOSX/._1.png": b"junk", "labels/._1.png": b"junk", "labels/.DS_Store": b"junk"}
    make_zip(tmp_path / "labels.zip", {"labels/1.png": b"l", **junk})
    (tmp_path / "._labels.zip").write_bytes(b"junk")
    (tmp_path / "folder.zip").mkdir()
    make_zip(tmp_path / "more/x.zip", {"deep/5.txt": b"5"})
    (tmp_path / "images").mkdir()
    (tmp_path / "images/2.jpg").write_bytes(b"newer")
    (tmp_path / "images/3.jpg").write_bytes(b"3")
    root = open_root(tmp_path)
    found = {name: content for name, content in contents(root).items() if not name.endswith(".zip")}
    assert found == {
        "images/1.jpg": b"1", "images/2.jpg": b"newer", "images/3.jpg": b"3", "labels/1.png": b"l",
        "more/deep/5.txt": b"5",
    }  # fmt: skip
    assert (root / "images/2.jpg").stat().st_size == 5
    assert str(root / "images/2.jpg") == f"{tmp_path}/images/2.jpg"
    assert (root / "labels").outside() == tmp_path / "labels"


def test_a_stored_zip_in_a_zip_is_read_in_place(tmp_path):
    inner = make_zip(tmp_path / "in/panoptic.zip", {"panoptic/1.png": b"png" * 500}).read_bytes()
    outer = tmp_path / "out/annotations.zip"
    outer.parent.mkdir()
    with zipfile.ZipFile(outer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("annotations/a.json", "{}")
        archive.writestr(zipfile.ZipInfo("annotations/panoptic.zip"), inner)
        archive.writestr("annotations/packed.zip", inner)  # deflated: left alone
    root = open_root(tmp_path / "out")
    assert (root / "annotations/panoptic/1.png").read_bytes() == b"png" * 500
    assert (root / "annotations/packed.zip").read_bytes() == inner
    assert sorted(path.name for path in (root / "annotations").iterdir()) == [
        "a.json", "packed.zip", "panoptic", "panoptic.zip",
    ]  # fmt: skip


def test_missing_and_foreign_paths(tmp_path):
    root = open_root(make_zip(tmp_path / "a.zip", {"a/1": b"1"}))
    for read in (Zipped.read_bytes, Zipped.stat, Zipped.iterdir):
        with pytest.raises(FileNotFoundError, match="a.zip/a/2"):
            read(root / "a/2")
    with pytest.raises(UserError, match="outside of the data set"):
        root / "../etc/passwd"
    with pytest.raises(UserError, match="a.zip: files cannot be made in a zip"):
        (root / "new").outside()
    with pytest.raises(ValueError, match="'rb'"):
        (root / "a/1").open("w")


def test_what_is_no_zip_is_named(tmp_path):
    (tmp_path / "data.tar").write_bytes(b"no zip at all")
    with pytest.raises(UserError, match="data.tar: not a whole zip archive"):
        open_root(tmp_path / "data.tar")
    whole = make_zip(tmp_path / "cut/a.zip", {"1": b"x" * 10_000}, zipfile.ZIP_STORED).read_bytes()
    (tmp_path / "cut/a.zip").write_bytes(whole[:5000])
    with pytest.raises(UserError, match="a.zip: not a whole zip archive"):
        open_root(tmp_path / "cut")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_damage_in_a_member_is_named(method, tmp_path):
    files = {"a.txt": bytes(range(256)) * 20, "b.txt": b"good"}
    path = make_zip(tmp_path / "a.zip", files, method)
    data = bytearray(path.read_bytes())
    data[60] ^= 255
    path.write_bytes(data)
    root = open_root(path)
    with pytest.raises(UnreadableFile, match="a.zip/a.txt: damaged in the archive"):
        (root / "a.txt").read_bytes()
    assert (root / "b.txt").read_bytes() == b"good"
    data[:4] = b"XXXX"
    path.write_bytes(data)
    with pytest.raises(UnreadableFile, match=r"no header"):
        (open_root(path) / "a.txt").read_bytes()


def test_a_member_unpacks_to_no_more_than_the_index_says(tmp_path):
    path = make_zip(tmp_path / "bomb.zip", {"a": bytes(1_000_000)})
    data = path.read_bytes()
    path.write_bytes(data.replace((1_000_000).to_bytes(4, "little"), (10).to_bytes(4, "little")))
    with pytest.raises(UnreadableFile, match="bomb.zip/a: damaged"):
        (open_root(path) / "a").read_bytes()


def test_encrypted_members_are_refused(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"a": b"1"})
    data = bytearray(path.read_bytes())
    place = data.index(b"PK\x01\x02") + 8
    data[place] |= 1
    path.write_bytes(data)
    with pytest.raises(UserError, match="a.zip: a is encrypted"):
        open_root(path)


def test_random_damage_is_always_told_in_one_line(tmp_path):
    files = {f"folder/{i}": bytes([i]) * 50 for i in range(8)}
    whole = make_zip(tmp_path / "a.zip", files).read_bytes()
    numbers = random.Random(0)
    told = 0
    for _ in range(300):
        data, place = bytearray(whole), numbers.randrange(len(whole))
        if numbers.random() < 0.5:
            data[place] ^= numbers.randrange(1, 256)
        else:
            del data[place : place + numbers.randrange(1, 40)]
        (tmp_path / "a.zip").write_bytes(data)
        try:
            contents(open_root(tmp_path / "a.zip"))
        except UserError as error:
            assert "\n" not in str(error) and "a.zip" in str(error)
            told += 1
    assert 150 < told < 300  # a date or a name of a folder may change unseen


def test_threads_share_a_root(tmp_path):
    files = {f"{i:03d}": bytes([i % 256]) * (1000 + i) for i in range(300)}
    root = open_root(make_zip(tmp_path / "a.zip", files))
    with ThreadPoolExecutor(8) as pool:
        read = list(pool.map(lambda name: (root / name).read_bytes(), files))
    assert read == list(files.values())


def test_paths_travel_without_their_index(tmp_path):
    root = open_root(make_zip(tmp_path / "a.zip", {f"folder/{i}": b"x" for i in range(1000)}))
    sent = pickle.dumps([root / f"folder/{i}" for i in range(1000)])
    assert len(sent) < 60_000
    assert [path.read_bytes() for path in pickle.loads(sent)] == [b"x"] * 1000
    assert pickle.loads(pickle.dumps(root / "folder/7")) == root / "folder/7"


def test_the_index_is_kept_until_the_zip_changes(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"a": b"1"})
    first = open_root(path)
    assert (open_root(path) / "a").tree.members["a"][0] is (first / "a").tree.members["a"][0]
    make_zip(path, {"a": b"22"})
    assert (open_root(path) / "a").read_bytes() == b"22"
