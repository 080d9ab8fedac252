"""Files are new or old, never half."""

import errno
import os

import pytest

from bench import files
from bench.files import atomic_files, atomic_path, atomic_write, require_writable


def listing(folder):
    return sorted(path.name for path in folder.iterdir())


def test_text_and_bytes_are_written(tmp_path):
    atomic_write(tmp_path / "deep" / "a.txt", "größer\n")
    atomic_write(tmp_path / "b.bin", b"\x00\xff")
    assert (tmp_path / "deep" / "a.txt").read_bytes() == "größer\n".encode()
    assert (tmp_path / "b.bin").read_bytes() == b"\x00\xff"
    assert listing(tmp_path) == ["b.bin", "deep"]


def test_permissions_are_those_of_a_plain_file(tmp_path):
    atomic_write(tmp_path / "a", "x")
    (tmp_path / "b").write_text("x")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_a_failure_leaves_the_old_content_and_nothing_else(tmp_path):
    atomic_write(tmp_path / "a.png", "old")
    with pytest.raises(RuntimeError), atomic_path(tmp_path / "a.png") as temporary:
        assert temporary.suffix == ".png" and temporary.parent == tmp_path
        temporary.write_text("half")
        raise RuntimeError
    assert (tmp_path / "a.png").read_text() == "old"
    assert listing(tmp_path) == ["a.png"]


def test_files_that_belong_together_change_together(tmp_path):
    for name in ("a", "b"):
        atomic_write(tmp_path / name, "old")
    with atomic_files() as stage:
        stage(tmp_path / "a").write_text("new")
        assert (tmp_path / "a").read_text() == "old"
        stage(tmp_path / "b").write_text("new")
    assert [(tmp_path / name).read_text() for name in ("a", "b")] == ["new", "new"]
    with pytest.raises(RuntimeError), atomic_files() as stage:
        stage(tmp_path / "a").write_text("newer")
        stage(tmp_path / "b").write_text("newer")
        raise RuntimeError
    assert [(tmp_path / name).read_text() for name in ("a", "b")] == ["new", "new"]
    assert listing(tmp_path) == ["a", "b"]


def test_a_disk_that_is_full_when_flushing(tmp_path, monkeypatch):
    for name in ("a", "b"):
        atomic_write(tmp_path / name, "old")
    flushed = []

    def fsync(handle):
        flushed.append(handle)
        if len(flushed) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", fsync)
    with pytest.raises(OSError, match="No space left") as caught, atomic_files() as stage:
        stage(tmp_path / "a").write_text("new")
        stage(tmp_path / "b").write_text("new")
    assert caught.value.filename == str(tmp_path)
    assert [(tmp_path / name).read_text() for name in ("a", "b")] == ["old", "old"]
    assert listing(tmp_path) == ["a", "b"]


def test_a_folder_in_the_way_is_told_before_anything_is_renamed(tmp_path):
    (tmp_path / "b").mkdir()
    atomic_write(tmp_path / "a", "old")
    with pytest.raises(IsADirectoryError) as caught, atomic_files() as stage:
        for name in ("a", "b"):
            stage(tmp_path / name).write_text("new")
    assert caught.value.filename == str(tmp_path / "b")
    assert (tmp_path / "a").read_text() == "old"
    assert listing(tmp_path) == ["a", "b"]


def test_errors_name_the_file_and_not_the_temporary_one(tmp_path, monkeypatch):
    def replace(source, target):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(source), None, str(target))

    monkeypatch.setattr(files.os, "replace", replace)
    with pytest.raises(PermissionError) as caught:
        atomic_write(tmp_path / "a", "new")
    assert caught.value.filename == str(tmp_path / "a")
    assert listing(tmp_path) == []


def test_whether_files_could_be_written_is_known_before(tmp_path, monkeypatch):
    require_writable(tmp_path)
    require_writable(tmp_path / "new" / "deep")
    assert listing(tmp_path) == []
    (tmp_path / "file").write_text("")
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    for wrong in ("file", "file/deep", "dangling"):
        with pytest.raises(NotADirectoryError) as caught:
            require_writable(tmp_path / wrong)
        assert caught.value.filename == str(tmp_path / wrong.split("/")[0])
    monkeypatch.setattr(files.os, "access", lambda path, mode: False)
    with pytest.raises(PermissionError) as caught:
        require_writable(tmp_path / "new")
    assert caught.value.filename == str(tmp_path)
