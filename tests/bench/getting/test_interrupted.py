"""Downloads on a machine that fails: killed processes, parts that were left, full disks, pins."""

import errno
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import namedtuple
from pathlib import Path

import pytest

from bench.errors import UserError
from bench.getting import part
from bench.getting.download import Patience, download
from bench.getting.part import Part
from bench.getting.pins import Pins
from tests.bench.getting.server import CONTENT, HALF, MD5, Heard, names, one_line

ROOT = Path(__file__).resolve().parents[3]


def killed_in_the_middle(server, path, sig):
    """A downloading process that gets a signal when half of the file is there. Gives its exit status."""
    hold = threading.Event()
    served, url = server.serve("a.bin", tricks=[{"after": HALF, "hold": hold}])
    program = (
        "import sys, pathlib; from bench.getting.download import download\n"
        "try:\n    download(sys.argv[1], pathlib.Path(sys.argv[2]))\n"
        "except KeyboardInterrupt:\n    sys.exit(130)"
    )
    process = subprocess.Popen([sys.executable, "-c", program, url, str(path)], cwd=ROOT)
    part = path.with_name("a.bin.part")
    until = time.monotonic() + 20
    while not (part.exists() and part.stat().st_size == HALF) and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(sig)
    status = process.wait(20)
    hold.set()
    assert part.read_bytes() == CONTENT[:HALF] and not path.exists()
    return served, url, status


@pytest.mark.parametrize(("sig", "status"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)])
def test_a_process_that_is_killed_or_interrupted_leaves_its_part(server, tmp_path, sig, status):
    served, url, found = killed_in_the_middle(server, tmp_path / "a.bin", sig)
    assert found == status
    assert download(url, tmp_path / "a.bin", MD5).read_bytes() == CONTENT
    assert served.asked == [None, f"bytes={HALF}-"] and names(tmp_path) == ["a.bin"]


def test_a_part_that_was_complete_is_only_checked(server, tmp_path):
    served, url = server.serve("a.bin")
    (tmp_path / "a.bin.part").write_bytes(CONTENT)
    origin = {"url": url, "validator": '"1"', "total": len(CONTENT)}
    (tmp_path / "a.bin.part.json").write_text(json.dumps(origin))
    assert download(url, tmp_path / "a.bin", MD5).read_bytes() == CONTENT
    assert served.asked == [] and names(tmp_path) == ["a.bin"]


@pytest.mark.parametrize(
    "origin", ["", "{", "[]", json.dumps({"url": "http://elsewhere/a", "validator": '"1"', "total": 307_200})]
)
def test_a_part_of_unknown_origin_is_begun_anew(server, tmp_path, origin):
    served, url = server.serve("a.bin")
    (tmp_path / "a.bin.part").write_bytes(b"?" * 1000)
    if origin:
        (tmp_path / "a.bin.part.json").write_text(origin)
    assert download(url, tmp_path / "a.bin", MD5).read_bytes() == CONTENT
    assert served.asked == [None] and names(tmp_path) == ["a.bin"]


def test_a_file_that_shrank_on_the_server(server, tmp_path, patience):
    """416: nothing is left after what has come."""
    served, url = server.serve("a.bin", tricks=[{"after": HALF}])
    served.heed_if_range = False
    short = CONTENT[:1000]

    class Swap(Heard):
        def say(self, line):
            if "trying again" in line:
                served.swap(short)

    assert download(url, tmp_path / "a.bin", patience=patience, report=Swap()).read_bytes() == short


def test_two_at_once_download_it_once(server, tmp_path, heard):
    hold = threading.Event()
    served, url = server.serve("a.bin", tricks=[{"after": HALF, "hold": hold}])
    path, done = tmp_path / "a.bin", []
    threads = [
        threading.Thread(target=lambda: done.append(download(url, path, MD5, report=heard))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    until = time.monotonic() + 10
    while len(heard.lines) < 2 and time.monotonic() < until:
        time.sleep(0.01)
    hold.set()
    for thread in threads:
        thread.join(20)
    assert heard.lines == 2 * [f"another process is downloading {path}; waiting for it"]
    assert done == 3 * [path] and path.read_bytes() == CONTENT
    assert served.asked == [None] and names(tmp_path) == ["a.bin"]


def test_a_part_that_goes_while_it_is_locked_is_not_used(tmp_path, monkeypatch, heard):
    """Another process had it, and finished between the opening here and the lock."""
    taken, lock = [], part._try_lock

    def late(file):
        found = lock(file)
        if not taken:
            taken.append(os.replace(tmp_path / "a.bin.part", tmp_path / "b.bin"))
        return found

    monkeypatch.setattr(part, "_try_lock", late)
    with part.locked(tmp_path / "a.bin", heard) as mine:
        mine.write(b"mine")
        assert (tmp_path / "a.bin.part").read_bytes() == b"mine"
    assert taken and (tmp_path / "b.bin").read_bytes() == b""


def test_a_disk_that_is_too_small_is_told_before(server, tmp_path, monkeypatch):
    served, url = server.serve("a.bin")
    usage = namedtuple("Usage", "total used free")(10**9, 10**9, 1000)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: usage)
    with pytest.raises(UserError) as error:
        download(url, tmp_path / "a.bin")
    assert one_line(error) == f"{tmp_path / 'a.bin'}: 0.31 MB are still needed, 0.00 MB are free on this disk"
    assert names(tmp_path) == []


@pytest.mark.parametrize(("spare", "enough"), [(60 << 20, False), (70 << 20, True)])
def test_a_disk_is_not_filled_to_the_last_byte(server, tmp_path, monkeypatch, spare, enough):
    _, url = server.serve("a.bin")
    usage = namedtuple("Usage", "total used free")(10**9, 10**9, len(CONTENT) + spare)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: usage)
    if enough:
        assert download(url, tmp_path / "a.bin").read_bytes() == CONTENT
    else:
        with pytest.raises(UserError, match="0.31 MB are still needed, 0.06 GB are free on this disk"):
            download(url, tmp_path / "a.bin")


def test_a_disk_that_becomes_full_keeps_the_part(server, tmp_path, monkeypatch):
    served, url = server.serve("a.bin", tricks=[{"after": HALF}])

    def full(self, block, write=Part.write):
        if self.size >= HALF:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        write(self, block)

    with monkeypatch.context() as patched, pytest.raises(OSError) as error:
        patched.setattr(Part, "write", full)
        download(url, tmp_path / "a.bin", patience=Patience(first=0.0))
    assert (error.value.errno, error.value.filename) == (errno.ENOSPC, str(tmp_path / "a.bin.part"))
    assert download(url, tmp_path / "a.bin", MD5).read_bytes() == CONTENT


def test_writing_names_the_part(tmp_path):
    class Full(io.BytesIO):
        def write(self, block):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError) as error:
        Part(tmp_path / "a.bin", Full()).write(b"x")
    assert error.value.filename == str(tmp_path / "a.bin.part")


def test_what_was_pinned_is_held_to(server, tmp_path):
    served, url = server.serve("a.bin")
    path = download(url, tmp_path / "a.bin")
    path.unlink()
    served.content = CONTENT[::-1]
    with pytest.raises(UserError, match=r"its sha256 begins with \w{12}, at first it began with") as error:
        download(url, path)
    assert one_line(error).endswith("downloads.lock.json); it was deleted") and names(tmp_path) == []
    path.write_bytes(CONTENT[::-1])
    with pytest.raises(UserError, match="at first it began with .*; delete it to download it again"):
        download(url, path)


@pytest.mark.parametrize("content", ["{", "[1]", '{"a": 1}', '{"a": {"sha256": 3}}'])
def test_a_damaged_lock_file_is_named(server, tmp_path, monkeypatch, content):
    _, url = server.serve("a.bin")
    monkeypatch.setenv("MASKBENCH_STORE", str(tmp_path))
    (tmp_path / "downloads.lock.json").write_text(content)
    with pytest.raises(UserError, match=r"downloads\.lock\.json is damaged.*delete it to trust"):
        download(url, tmp_path / "a.bin")
    assert not (tmp_path / "a.bin").exists()


def test_waiting_doubles_up_to_a_limit_and_heeds_the_server():
    patience = Patience(first=1, longest=60)
    for failed, planned in ((1, 1), (3, 4), (20, 60)):
        assert 0.8 * planned <= patience.wait(failed, None) <= 1.2 * planned
    assert patience.wait(1, 90.0) == 90 and patience.wait(1, 1e9) == 600


def test_the_first_pin_stays(tmp_path):
    """Also where two processes have downloaded a file at once, and came by different ones."""
    for sha256 in ("a" * 64, "b" * 64):
        Pins(tmp_path).add("http://example.org/a", sha256, 5)
    assert Pins(tmp_path).sha256("http://example.org/a") == "a" * 64
