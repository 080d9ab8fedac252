"""The result store: found again, never torn, safe with several writers."""

import errno
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench import records
from bench.records import Store, code_version

ROOT = Path(records.__file__).resolve().parent.parent


def key(**changes) -> str:
    parts = {
        "spec": {"part": "a", "dim": 8},
        "protocol": "flops/exact-v1",
        "code": "c0ffee",
        "dataset": "d41d",
    }
    return Store.key(**{**parts, **changes})


def test_a_record_is_found_again_by_another_store(tmp_path):
    Store(tmp_path).put(key(), {"value": 3.25, "by_part": {"a": 1}})
    assert Store(tmp_path).get(key()) == {"value": 3.25, "by_part": {"a": 1}}
    assert Store(tmp_path).get(key(protocol="other")) is None
    assert Store(tmp_path / "nothing here").get(key()) is None


def test_keys_do_not_change():
    """A key that changes makes every stored result useless; this one was computed once and is kept."""
    assert key() == "7cc72c64b5811551e6d0a424fee669fa"
    assert key(spec={"dim": 8, "part": "a"}) == key()
    assert Store.key(spec={}, protocol="p", code="c", size=[1, 2]) == Store.key(
        spec={}, protocol="p", code="c", size=(1, 2)
    )


def test_keys_differ_with_each_thing_a_result_depends_on():
    others = [
        key(spec={"part": "a", "dim": 9}),
        key(protocol="flops/fvcore-v1"),
        key(code="c0ffef"),
        key(dataset=None),
        key(size=[512, 512]),
        key(seed=0),
        key(seed=1),
    ]
    assert len({key(), *others}) == len(others) + 1


def test_what_json_cannot_hold_is_refused():
    with pytest.raises(ValueError):
        key(learning_rate=float("nan"))
    with pytest.raises(TypeError):
        key(spec={"device": object()})


def test_the_later_record_holds_and_the_earlier_stays_in_the_file(tmp_path):
    store = Store(tmp_path)
    store.put("k", {"value": 1})
    store.put("k", {"value": 2})
    assert store.get("k") == Store(tmp_path).get("k") == {"value": 2}
    assert len(store.file.read_text().splitlines()) == 2


def test_an_open_store_sees_what_another_adds(tmp_path):
    first, second = Store(tmp_path), Store(tmp_path)
    assert first.get("k") is None
    second.put("k", {"value": 1})
    assert first.get("k") == {"value": 1}


@pytest.mark.parametrize("torn", [b'{"key": "b", "rec', b"{", b'{"key": "b", "record": {"value": 2}}'])
def test_a_torn_last_line_is_ignored_and_mended(tmp_path, torn):
    store = Store(tmp_path)
    store.put("a", {"value": 1})
    with open(store.file, "ab") as file:
        file.write(torn)
    again = Store(tmp_path)
    assert again.get("a") == {"value": 1}
    assert again.get("b") is None
    again.put("c", {"value": 3})
    assert [json.loads(line)["key"] for line in store.file.read_text().splitlines()] == ["a", "c"]
    assert Store(tmp_path).get("c") == again.get("c") == {"value": 3}


def test_a_torn_line_longer_than_a_block_is_mended(tmp_path):
    store = Store(tmp_path)
    store.put("a", {"value": 1})
    with open(store.file, "ab") as file:
        file.write(b'{"key": "' + b"x" * 200_000)
    store.put("b", {"value": 2})
    assert [json.loads(line)["key"] for line in store.file.read_text().splitlines()] == ["a", "b"]


def test_a_damaged_line_in_the_middle_loses_only_itself(tmp_path):
    store = Store(tmp_path)
    store.put("a", {"value": 1})
    with open(store.file, "ab") as file:
        file.write(b"\x00\xff not json\n" + b'["a list"]\n' + b'{"key": 3, "record": {}}\n')
    store.put("b", {"value": 2})
    assert Store(tmp_path).get("a") == {"value": 1}
    assert Store(tmp_path).get("b") == {"value": 2}


def test_a_store_deleted_under_us_starts_anew(tmp_path):
    store = Store(tmp_path)
    store.put("a", {"value": 1})
    assert store.get("a") == {"value": 1}
    store.file.unlink()
    store.put("b", {})
    assert store.get("b") == {}
    assert store.get("a") is None


def put_many(folder: str, name: str, count: int) -> None:
    store = Store(folder)
    for number in range(count):
        store.put(f"{name}{number}", {"filler": name * 3000, "number": number})


def test_two_processes_write_at_once(tmp_path):
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=put_many, args=(str(tmp_path), name, 40)) for name in "ab"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0]
    lines = (tmp_path / "results.jsonl").read_text().splitlines()
    assert sorted(json.loads(line)["key"] for line in lines) == sorted(
        f"{n}{i}" for n in "ab" for i in range(40)
    )
    store = Store(tmp_path)
    assert store.get("b39") == {"filler": "b" * 3000, "number": 39}


def test_a_writer_killed_at_any_moment_leaves_whole_records(tmp_path):
    program = (
        "import itertools; from bench.records import Store; s = Store(); "
        "[s.put(str(i), {'filler': 'x' * 100_000, 'i': i}) for i in itertools.count()]"
    )
    environment = {**os.environ, "MASKBENCH_STORE": str(tmp_path), "PYTHONPATH": str(ROOT)}
    for _ in range(2):
        writer = subprocess.Popen([sys.executable, "-c", program], env=environment)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and not (tmp_path / "results.jsonl").exists():
            time.sleep(0.02)
        time.sleep(0.1)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
    store = Store(tmp_path)
    store.put("last", {"i": -1})
    entries = [json.loads(line) for line in store.file.read_text().splitlines()]
    assert len(entries) > 1
    assert all(len(entry["record"]["filler"]) == 100_000 for entry in entries[:-1])
    assert Store(tmp_path).get("last") == {"i": -1}


def test_a_full_disk_leaves_the_store_as_it_was(tmp_path, monkeypatch):
    store = Store(tmp_path)
    store.put("a", {"value": 1})
    before = store.file.read_bytes()
    real, calls = os.write, []

    def write_half(handle, data):
        if not calls:
            calls.append(1)
            return real(handle, data[:10])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(records.os, "write", write_half)
    with pytest.raises(OSError) as caught:
        store.put("b", {"value": 2})
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(store.file))
    assert store.file.read_bytes() == before
    assert store.get("b") is None


def test_the_default_place_can_be_set(tmp_path, monkeypatch):
    monkeypatch.setenv("MASKBENCH_STORE", str(tmp_path / "elsewhere"))
    assert Store().file == tmp_path / "elsewhere" / "results.jsonl"
    monkeypatch.delenv("MASKBENCH_STORE")
    assert Store().file == Path(".maskbench/results.jsonl")


def test_the_code_version_follows_the_sources(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "_ROOT", tmp_path)
    version = code_version.__wrapped__
    (tmp_path / "models" / "parts").mkdir(parents=True)
    (tmp_path / "models" / "a.py").write_text("x = 1\n")
    (tmp_path / "models" / "parts" / "kernel.cpp").write_text("int x;\n")
    first = version("models")
    assert version("models") == first
    (tmp_path / "models" / "README.md").write_text("text")
    assert version("models") == first, "a text is no source"
    (tmp_path / "models" / "parts" / "kernel.cpp").write_text("int y;\n")
    second = version("models")
    (tmp_path / "models" / "a.py").rename(tmp_path / "models" / "b.py")
    assert len({first, second, version("models")}) == 3
    assert version("models/b.py") != version("models")
    with pytest.raises(ValueError, match="no source files in 'modles'"):
        version("modles")


def test_the_packages_that_counts_depend_on_exist():
    from bench.counting import COUNTED_CODE

    assert len(code_version(*COUNTED_CODE)) == 16
