"""Is a file what was published? Its size, its hash as far as one is printed, and whether it is whole."""

from __future__ import annotations

import hashlib
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.getting.report import SILENT, Reporter

_BLOCK = 1 << 20
_PICKLE, _PICKLE_END = b"\x80", b"."


@dataclass(frozen=True)
class Expected:
    """What is known of a file before it is there. size: bytes; digest: hexadecimal, perhaps only the first
    digits, of the hash `algorithm` (a name that hashlib knows)."""

    size: int | None = None
    algorithm: str = ""
    digest: str = ""


def digests(path: Path, algorithms: Iterable[str], report: Reporter = SILENT) -> dict[str, str]:
    """The hashes of a file, read once. Raises OSError."""
    hashes = {name: hashlib.new(name, usedforsecurity=False) for name in algorithms}
    size, done = path.stat().st_size, 0
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            for running in hashes.values():
                running.update(block)
            done += len(block)
            report.progress(f"checking {path.name}", done, size)
    return {name: running.hexdigest() for name, running in hashes.items()}


def size_fault(path: Path, expected: Expected) -> str | None:
    """What is wrong with the size of a file, or None."""
    size = path.stat().st_size
    if expected.size in (None, size):
        return None
    return f"it has {size:,} bytes, {expected.size:,} were published"


def hash_fault(expected: Expected, found: Mapping[str, str]) -> str | None:
    """What is wrong with the hash of a file, or None; `found` has that of `expected.algorithm`."""
    if not expected.digest or found[expected.algorithm].startswith(expected.digest):
        return None
    own, digest = found[expected.algorithm], expected.digest
    verb = "is" if len(digest) == len(own) else "begins with"
    return f"its {expected.algorithm} {verb} {own[: len(digest)]}, published is {digest}"


def content_fault(path: Path) -> str | None:
    """What is wrong with the form of an archive or a checkpoint: it is cut off, or a web page instead."""
    with open(path, "rb") as file:
        head = file.read(512)
        file.seek(max(path.stat().st_size - 1, 0))
        last = file.read(1)
    name = path.name.removesuffix(".part")
    if not head:
        return "it is empty"
    if head.lstrip()[:1] == b"<":
        return "it is a web page"
    if name.endswith(".zip") and not zipfile.is_zipfile(path):
        return "it is not a whole zip archive"
    if name.endswith(".tar") and not tarfile.is_tarfile(path):
        return "it is not a tar archive"
    if name.endswith(".pkl") and (head[:1], last) != (_PICKLE, _PICKLE_END):
        return "it is not a whole pickle"
    if name.endswith((".pth", ".pt")) and head[:1] != _PICKLE and not zipfile.is_zipfile(path):
        return "it is not a whole checkpoint"
    return None
