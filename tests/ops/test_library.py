"""The cache of compiled operators: what is compiled when, and what happens where nothing can be."""

import logging
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ops import BackendError, backend, library

ROOT = Path(library.__file__).parents[1]

COMPILER = """#!/bin/sh
# Stands for a compiler: notes each call and copies the library that a real one made.
case "$*" in *--version*) echo "cc {version}"; exit 0;; esac
echo "$*" >> "{log}"
case "$*" in {refuse}) echo "x.cpp:1: error: not today" >&2; exit 1;; esac
while [ "$1" != "-o" ]; do shift; done
{delay}
cp "{product}" "$2"
"""


@pytest.fixture(scope="module")
def product():
    """The library as a real compiler makes it."""
    try:
        return library.load()
    except library.LibraryError as error:
        pytest.skip(str(error))


@pytest.fixture
def compiler(tmp_path, monkeypatch, product):
    """Puts a stand-in compiler and an empty cache in place; `.calls()` are those that compiled something."""
    log = tmp_path / "calls"

    def install(version="1", refuse="nothing", delay=""):
        script = tmp_path / "cc"
        script.write_text(
            COMPILER.format(version=version, log=log, refuse=refuse, delay=delay, product=product)
        )
        script.chmod(0o755)
        monkeypatch.setenv("CXX", str(script))
        monkeypatch.setenv("MASKBENCH_CACHE", str(tmp_path / "cache"))

    install()
    install.calls = lambda: log.read_text().splitlines() if log.exists() else []
    return install


def test_the_second_use_finds_the_file_of_the_first(compiler, tmp_path):
    first = library.load()
    assert first.parent == tmp_path / "cache" and first.read_bytes()
    assert library.load() == first
    assert len(compiler.calls()) == 1
    assert sorted(path.suffix for path in first.parent.iterdir()) == [".lock", ".so"]


def test_processes_at_once_compile_once(compiler):
    compiler(delay="sleep 0.3")
    with multiprocessing.get_context("fork").Pool(8) as pool:
        paths = pool.map(_load, range(8), chunksize=1)
    assert len(set(paths)) == 1 and Path(paths[0]).exists()
    assert len(compiler.calls()) == 1


def _load(_: int) -> str:
    return str(library.load())


@pytest.mark.parametrize("damage", [b"", b"\x7fELF", None], ids=["empty", "cut", "changed"])
def test_a_damaged_file_is_built_again(compiler, caplog, damage):
    path = library.load()
    whole = path.read_bytes()
    # A file that is replaced, not written over: this process has the old one mapped.
    other = path.with_name("other")
    other.write_bytes(whole[:-1] + b"x" if damage is None else damage)
    os.replace(other, path)
    with caplog.at_level(logging.WARNING):
        assert library.load() == path
    assert path.read_bytes() == whole
    assert [record.getMessage() for record in caplog.records] == [f"{path} is damaged: compiling again"]
    assert len(compiler.calls()) == 2


def test_a_folder_that_cannot_be_written_to(compiler, tmp_path, caplog):
    (tmp_path / "cache").write_text("a file in the folder's place")
    with caplog.at_level(logging.WARNING):
        path = library.load()
    assert path.exists() and tmp_path not in path.parents
    assert len(caplog.records) == 1 and "this process only" in caplog.text


def test_a_cache_that_can_only_be_read(compiler, monkeypatch, caplog):
    path = library.load()

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    for name in ("mkdir", "open", "unlink"):
        monkeypatch.setattr(Path, name, refuse if name != "open" else _read_only_open)
    with caplog.at_level(logging.WARNING):
        assert library.load() == path
    assert not caplog.records


def _read_only_open(path, mode="r", *arguments, **options):
    if "w" in mode:
        raise PermissionError(13, "Permission denied")
    return open(path, mode, *arguments, **options)


def test_a_compiler_that_does_not_know_the_cpu(compiler):
    compiler(refuse="*=native*")
    assert library.load().exists()
    with_native, without = compiler.calls()
    assert "=native" in with_native and "=native" not in without


def test_a_compiler_that_fails(compiler):
    compiler(refuse="*")
    with pytest.raises(library.LibraryError, match="error: not today"):
        library.load()


def test_a_product_that_is_no_library(compiler, tmp_path):
    compiler(delay='echo junk > "$2"; exit 0')
    with pytest.raises(library.LibraryError, match="cannot be loaded"):
        library.load()


def test_the_key_stands_for_all_that_matters(compiler, monkeypatch, tmp_path):
    command = library.find_compiler()
    keys = [library.cache_key(command)]
    assert library.cache_key(command) == keys[0]
    compiler(version="2")
    keys.append(library.cache_key(command))
    monkeypatch.setattr(library, "FLAGS", (*library.FLAGS, "-g"))
    keys.append(library.cache_key(command))
    monkeypatch.setattr(library, "_machine", lambda: ["another CPU"])
    keys.append(library.cache_key(command))
    monkeypatch.setattr(torch, "__version__", "2.99.0")
    keys.append(library.cache_key(command))
    sources = tmp_path / "csrc"
    sources.mkdir()
    (sources / "ms_deform_attn.cpp").write_text("")
    monkeypatch.setattr(library, "SOURCES", sources)
    keys.append(library.cache_key(command))
    assert len(set(keys)) == len(keys)


def test_the_machine_is_told_by_its_instruction_sets():
    machine = "\n".join(library._machine())
    assert "MHz" not in machine
    if Path("/proc/cpuinfo").exists():
        assert ("flags" in machine) or ("Features" in machine)


def test_no_compiler(monkeypatch):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(library.LibraryError, match="no C"):
        library.find_compiler()


def test_the_modes(monkeypatch, caplog):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr(backend, "_choices", {})
    monkeypatch.setenv("MASKBENCH_OPS", "quick")
    with pytest.raises(BackendError, match="auto, compiled, reference"):
        backend.active_backend()
    monkeypatch.setenv("MASKBENCH_OPS", "compiled")
    with pytest.raises(BackendError, match="no C"):
        backend.active_backend()
    monkeypatch.setenv("MASKBENCH_OPS", "auto")
    with caplog.at_level(logging.INFO, logger="maskbench.ops"):
        assert backend.active_backend() == backend.active_backend() == "reference"
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "reference" in caplog.text and "no C" in caplog.text
    monkeypatch.setattr(backend, "_choices", {})
    monkeypatch.setenv("MASKBENCH_OPS", "reference")
    assert backend.choose("cpu") == backend.Choice("reference", "MASKBENCH_OPS=reference")
    monkeypatch.setenv("MASKBENCH_OPS", "auto")
    assert backend.active_backend("mps") == "reference"


SCRIPT = """
import torch
from ops import active_backend, ms_deform_attn, ms_deform_attn_reference
torch.manual_seed(0)
value, locations, weights = torch.rand(1, 6, 2, 4), torch.rand(1, 3, 2, 1, 2, 2), torch.rand(1, 3, 2, 1, 2)
output = ms_deform_attn(value, [(2, 3)], locations, weights)
torch.testing.assert_close(output, ms_deform_attn_reference(value, [(2, 3)], locations, weights))
print(active_backend())
"""


def test_without_a_compiler_the_reference_runs_and_says_so():
    environment = {**os.environ, "PATH": "/nonexistent", "PYTHONPATH": str(ROOT), "MASKBENCH_OPS": "auto"}
    environment.pop("CXX", None)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["reference"]
    lines = [line for line in done.stderr.splitlines() if "operators on" in line]
    assert len(lines) == 1 and "no C++ compiler" in lines[0]
