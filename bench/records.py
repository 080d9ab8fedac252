"""The result store: one append-only file of JSON lines, so that finished work is never done twice.

A result is found by a key made of everything it depends on: the spec, the protocol, the data set's checksum
and the version of the code that made it. Nothing is ever changed in place; of two records with one key the
later one holds. Several processes may write at once. A line cut short by `kill -9` or a full disk is ignored
and mended.
"""

import fcntl
import functools
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent
_SOURCES = {".py", ".toml", ".c", ".cc", ".cpp", ".h", ".cu", ".cuh"}


class Store:
    """Results by key, kept in `<path>/results.jsonl`; lines are `{"key": str, "record": object}`.

    `path` is a folder, made on the first write. By default that of the environment variable MASKBENCH_STORE,
    else `.maskbench` in the current folder. Errors: OSError as the file system raises it (a full disk leaves
    the file as it was).
    """

    def __init__(self, path: str | os.PathLike | None = None) -> None:
        folder = Path(path if path is not None else os.environ.get("MASKBENCH_STORE") or ".maskbench")
        self.file = folder / "results.jsonl"
        self._records: dict[str, dict] = {}
        self._read = 0  # bytes of the file that `_records` holds

    @staticmethod
    def key(*, spec: dict, protocol: str, code: str, dataset: str | None = None, **extra: object) -> str:
        """The key of a result: a hash that does not depend on the order of dictionaries.

        `spec` and `extra` are JSON-able; `dataset` is a checksum; `code` comes from `code_version`. Raises
        TypeError for what JSON cannot hold and ValueError for a number that is not finite.
        """
        parts = {"spec": spec, "protocol": protocol, "dataset": dataset, "code": code, "extra": extra}
        text = json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def get(self, key: str) -> dict | None:
        """The latest record with this key, also if another process wrote it just now; None without one."""
        self._refresh()
        return self._records.get(key)

    def put(self, key: str, record: dict) -> None:
        """Adds a record and waits until it is on the disk."""
        line = json.dumps({"key": key, "record": record}, sort_keys=True, allow_nan=False) + "\n"
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self._locked() as handle:
            end = whole_lines(handle)
            os.ftruncate(handle, end)  # drops the torn line of a writer that was killed
            try:
                write_all(handle, line.encode())
                os.fsync(handle)
            except OSError as error:
                os.ftruncate(handle, end)
                error.filename = str(self.file)
                raise

    @contextmanager
    def _locked(self) -> Iterator[int]:
        handle = os.open(self.file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield handle
        finally:
            os.close(handle)  # also unlocks

    def _refresh(self) -> None:
        """Takes in the whole lines that the file has gained."""
        if not self.file.exists():
            return
        with open(self.file, "rb") as file:
            if file.seek(0, os.SEEK_END) < self._read:  # somebody deleted the store and began anew
                self._read, self._records = 0, {}
            file.seek(self._read)
            new = file.read()
        new = new[: new.rfind(b"\n") + 1]
        self._read += len(new)
        for line in new.splitlines():
            entry = _parse(line)
            if entry is not None:
                self._records[entry["key"]] = entry["record"]


@functools.cache
def code_version(*packages: str) -> str:
    """A hash of the source files of `packages`: folders or files relative to the repository, such as
    "bench/protocol".

    Changes with any of their names or contents. Raises ValueError for one that has no source file.
    """
    digest = hashlib.sha256()
    for package in sorted(packages):
        files = _source_files(_ROOT / package)
        if not files:
            raise ValueError(f"no source files in {package!r}")
        for file in files:
            digest.update(f"{file.relative_to(_ROOT).as_posix()}\0".encode())
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _source_files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    return sorted(file for file in path.rglob("*") if file.suffix in _SOURCES and file.is_file())


def _parse(line: bytes) -> dict | None:
    """The entry of one line; None for a line that a crash of the machine has damaged."""
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    if (
        isinstance(entry, dict)
        and isinstance(entry.get("key"), str)
        and isinstance(entry.get("record"), dict)
    ):
        return entry
    return None


def whole_lines(handle: int, block: int = 1 << 16) -> int:
    """The length of the file up to and including its last newline."""
    end = os.fstat(handle).st_size
    while end:
        start = max(0, end - block)
        found = os.pread(handle, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def write_all(handle: int, data: bytes) -> None:
    """Writes all of `data`, in as many steps as the system takes for it."""
    while data:
        data = data[os.write(handle, data) :]
