"""Files are new or old, never half."""

import errno
import os

import pytest

from bench import files
from bench.files import atomic_files, atomic_path, atomic_write


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
