"""Telling what was published from what was not."""

import hashlib
import io
import tarfile
import zipfile

import pytest

from bench.getting.check import Expected, content_fault, digests, hash_fault, size_fault


def packed(kind):
    buffer = io.BytesIO()
    if kind == "zip":  # what torch writes is one, too
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("a", b"a" * 3000)
    else:
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            archive.addfile(tarfile.TarInfo("a"))
    return buffer.getvalue()


def test_hashes_are_those_of_the_file(tmp_path, heard):
    (tmp_path / "a").write_bytes(b"abc" * 10**6)
    found = digests(tmp_path / "a", {"md5", "sha256"}, heard)
    assert found == {name: hashlib.new(name, b"abc" * 10**6).hexdigest() for name in ("md5", "sha256")}
    assert heard.steps[0] == ("checking a", 1 << 20, 3 * 10**6)
    assert heard.steps[-1] == ("checking a", 3 * 10**6, 3 * 10**6)


def test_what_is_wrong_is_said(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert size_fault(tmp_path / "a", Expected()) is None
    assert size_fault(tmp_path / "a", Expected(3)) is None
    assert size_fault(tmp_path / "a", Expected(1234)) == "it has 3 bytes, 1,234 were published"
    found = {"md5": "900150983cd24fb0d6963f7d28e17f72"}
    assert hash_fault(Expected(), {}) is None
    assert hash_fault(Expected(algorithm="md5", digest="900150"), found) is None
    begins = "its md5 begins with 900150, published is 94dc52"
    assert hash_fault(Expected(algorithm="md5", digest="94dc52"), found) == begins
    whole = f"its md5 is {found['md5']}, published is {'0' * 32}"
    assert hash_fault(Expected(algorithm="md5", digest="0" * 32), found) == whole


@pytest.mark.parametrize(
    ("name", "content", "wrong"),
    [
        ("a.zip", packed("zip"), None),
        ("a.zip", packed("zip")[:-30], "it is not a whole zip archive"),
        ("a.tar", packed("tar"), None),
        ("a.tar", b"x" * 2000, "it is not a tar archive"),
        ("a.pth", packed("zip"), None),
        ("a.pth.part", packed("zip")[:-30], "it is not a whole checkpoint"),
        ("a.pth", b"\x80\x02 torch before 1.6", None),
        ("a.pkl", b"\x80\x02}.", None),
        ("a.pkl.part", b"\x80\x02}", "it is not a whole pickle"),
        ("a.pkl", b"\n <html>.", "it is a web page"),
        ("a.bin", b"", "it is empty"),
        ("a.bin", b"anything", None),
    ],
)
def test_forms(tmp_path, name, content, wrong):
    (tmp_path / name).write_bytes(content)
    assert content_fault(tmp_path / name) == wrong
