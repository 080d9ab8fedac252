"""The compiled CPU operators: one compiler line at first use, kept in a cache, loaded by torch.

The sources are in `csrc/`, against LibTorch's stable ABI (torch 2.10 and later), so that there is nothing to
build when the package is installed. The cache is the folder MASKBENCH_CACHE, else `maskbench/ops` in the
user's cache folder. A file in it is named after a key and the digest of its own content: the key holds all
that makes one binary unfit for another place, and a file that does not match its digest is damaged and built
again.
"""

from __future__ import annotations

import atexit
import hashlib
import logging
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

SOURCES = Path(__file__).with_name("csrc")
FLAGS = (
    "-std=c++17", "-O3", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math", "-fPIC",
    "-DTORCH_TARGET_VERSION=0x020a000000000000",
)  # fmt: skip
_LIMIT = 300  # seconds for the compiler
_CPU_LINES = (
    "vendor_id", "cpu family", "model", "model name", "flags", "Features", "CPU implementer", "CPU part",
)  # fmt: skip

log = logging.getLogger("maskbench.ops")


class LibraryError(RuntimeError):
    """The compiled operators cannot be had here; the message says why, in one line."""


def load() -> Path:
    """Registers the compiled operators with torch, after compiling them if no fitting file is in the cache.

    Returns:
        The file that was loaded.

    Raises:
        LibraryError: no compiler, or it failed, or its product cannot be loaded.
    """
    compiler = find_compiler()
    key = cache_key(compiler)
    path = _cached(key, compiler)
    try:
        torch.ops.load_library(path)
    except OSError as error:
        raise LibraryError(f"{path} cannot be loaded ({_last_line(str(error))})") from error
    return path


def find_compiler() -> list[str]:
    """The command of the C++ compiler: the variable CXX, else the first of c++, g++, clang++.

    Raises:
        LibraryError: there is none.
    """
    if sys.platform == "win32":
        raise LibraryError("the compiled operators are not available on Windows")
    for candidate in (os.environ.get("CXX"), "c++", "g++", "clang++"):
        command = shlex.split(candidate) if candidate else []
        if command and shutil.which(command[0]):
            return command
    raise LibraryError("no C++ compiler found (c++, g++, clang++, or the variable CXX)")


def cache_key(compiler: list[str]) -> str:
    """16 hexadecimal digits that stand for the sources, flags, compiler, torch, machine and CPU.

    Raises:
        LibraryError: the compiler does not even tell its version.
    """
    version = _run([*compiler, "--version"])
    parts = [*compiler, version, *FLAGS, torch.__version__, *_machine()]
    digest = hashlib.sha256("\0".join(parts).encode())
    for path in sorted(SOURCES.iterdir()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def cache_folder() -> Path:
    """Where compiled files are kept; it need not exist."""
    given = os.environ.get("MASKBENCH_CACHE")
    if given:
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "maskbench" / "ops"


def _cached(key: str, compiler: list[str]) -> Path:
    """The file for `key`, from the cache where possible. A cache that is read only may still be read."""
    folder = cache_folder()
    found = _find(folder, key)
    if found:
        return found
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder / f"{key}.lock"):
            return _find(folder, key) or _compile(folder, key, compiler)
    except OSError as error:
        reason = error.strerror or error
        log.warning("cannot write to %s (%s): compiling for this process only", folder, reason)
    try:
        folder = Path(tempfile.mkdtemp(prefix="maskbench-ops-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        return _compile(folder, key, compiler)
    except OSError as error:
        raise LibraryError(f"no folder to compile in ({error})") from error


def _find(folder: Path, key: str) -> Path | None:
    """A whole file for `key`; damaged ones are named, and removed where that is allowed."""
    for path in sorted(folder.glob(f"{key}-*.so")):
        try:
            if path.stem.partition("-")[2] == _digest(path):
                return path
            log.warning("%s is damaged: compiling again", path)
            path.unlink(missing_ok=True)
        except OSError as error:
            log.warning("%s cannot be used (%s)", path, error.strerror or error)
    return None


def _compile(folder: Path, key: str, compiler: list[str]) -> Path:
    """Compiles into `folder`, in one step as others see it. OSError: the folder cannot be written to."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=folder, prefix=f"{key}-") as work:
        product = Path(work) / "library.so"
        try:
            _run(_command(compiler, product))
        except LibraryError:  # a compiler that does not know this CPU
            _run(_command(compiler, product, native=False))
        path = folder / f"{key}-{_digest(product)}.so"
        os.replace(product, path)
    log.info("compiled %s in %.1f s", path, time.perf_counter() - started)
    return path


def _command(compiler: list[str], product: Path, native: bool = True) -> list[str]:
    """The one line. The result may use all that this CPU has: it is never used on another one."""
    root = Path(torch.__file__).parent
    cpu = "-march=native" if platform.machine() in ("x86_64", "AMD64", "i686") else "-mcpu=native"
    link = ["-shared", f"-L{root / 'lib'}", "-ltorch_cpu"]
    if sys.platform == "darwin":
        link = ["-dynamiclib", "-undefined", "dynamic_lookup"]
    source = [f"-I{root / 'include'}", str(SOURCES / "ms_deform_attn.cpp"), "-o", str(product)]
    return [*compiler, *FLAGS, *([cpu] if native else []), *source, *link]


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT, check=True)
    except subprocess.CalledProcessError as error:
        errors = [line for line in error.stderr.splitlines() if "error" in line] or [_last_line(error.stderr)]
        raise LibraryError(f"{command[0]} failed: {errors[0].strip()}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LibraryError(f"{command[0]} failed: {error}") from error
    return done.stdout


def _machine() -> list[str]:
    """What decides whether a binary runs here: system, C library, and the CPU with its instruction sets."""
    parts = [sys.platform, platform.machine(), *platform.libc_ver()]
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return [*parts, platform.processor(), platform.node()]
    lines = text.split("\n\n")[0].splitlines()
    return parts + [line for line in lines if line.partition(":")[0].strip() in _CPU_LINES]


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no message"])[-1]


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Holds a lock between processes; the system drops it when a process dies."""
    import fcntl  # not on Windows, where nothing is compiled

    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
