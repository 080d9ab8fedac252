"""What has arrived of a file, as NAME.part, with what is known of it beside it, and its lock."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from bench.files import atomic_write
from bench.getting.report import Reporter

_WAIT = 0.1
"""Seconds between looks at a lock that another process holds."""


@dataclass(frozen=True)
class Origin:
    """Where the bytes of a part come from: the address, the version of the file, its size if it was told."""

    url: str
    validator: str
    total: int | None


class Part:
    """What has arrived of `final`. Only one process has it at a time; see `locked`."""

    def __init__(self, final: Path, file: BinaryIO) -> None:
        self.final, self._file = final, file
        self.path = _beside(final, ".part")
        self._origin = _beside(final, ".part.json")

    @property
    def size(self) -> int:
        """Bytes that have arrived."""
        return os.fstat(self._file.fileno()).st_size

    def origin(self, url: str) -> Origin | None:
        """Where the bytes come from, if they can be continued from `url`."""
        try:
            found = Origin(**json.loads(self._origin.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None
        return found if found.url == url and self.size else None

    def restart(self, origin: Origin) -> None:
        """Forgets the bytes; what comes now is from `origin`."""
        self._file.truncate(0)
        atomic_write(self._origin, json.dumps(asdict(origin)))

    def write(self, block: bytes) -> None:
        """Adds bytes. Raises OSError naming the file, for a full disk with errno ENOSPC."""
        try:
            self._file.write(block)
            self._file.flush()
        except OSError as error:
            error.filename = str(self.path)
            raise

    def discard(self) -> None:
        """Deletes what has arrived."""
        self._origin.unlink(missing_ok=True)
        self._file.truncate(0)

    def finish(self) -> None:
        """Gives the part its final name."""
        os.fsync(self._file.fileno())
        os.replace(self.path, self.final)
        self._origin.unlink(missing_ok=True)


@contextmanager
def locked(final: Path, report: Reporter) -> Iterator[Part]:
    """The part of `final`, made as needed, while no other process has it. Waits for another one.

    The lock ends with the process that holds it, however that ends. An empty part is removed in the end.
    Raises OSError.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    path, told = _beside(final, ".part"), False
    while True:
        with open(path, "ab") as file:
            if not _try_lock(file):
                if not told:
                    report.say(f"another process is downloading {final}; waiting for it")
                    told = True
                time.sleep(_WAIT)
                continue
            if not _is_at(file, path):  # it was finished or removed meanwhile
                continue
            part = Part(final, file)
            try:
                yield part
            finally:
                if _is_at(file, path) and not part.size:
                    part.discard()
                    path.unlink()
            return


def _try_lock(file: BinaryIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(file: BinaryIO, path: Path) -> bool:
    try:
        found = path.stat()
    except FileNotFoundError:
        return False
    own = os.fstat(file.fileno())
    return (found.st_dev, found.st_ino) == (own.st_dev, own.st_ino)


def _beside(final: Path, suffix: str) -> Path:
    return final.with_name(final.name + suffix)
