"""Downloading a file: continued where it stopped, checked, and never half of it under its own name."""

from __future__ import annotations

import random
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from bench.errors import UserError
from bench.getting.check import Expected, content_fault, digests, hash_fault, size_fault
from bench.getting.http import Answer, Broken, Changed, Refused, request
from bench.getting.part import Origin, Part, locked
from bench.getting.pins import Pins
from bench.getting.report import SILENT, Reporter

_BLOCK = 1 << 18
_SPARE = 64 << 20
"""Bytes that a disk keeps free beyond what the file needs."""


@dataclass(frozen=True)
class Patience:
    """When to give up. attempts: in a row that came no further; first, longest: seconds between attempts,
    which double; silence: seconds without a byte after which a connection counts as broken."""

    attempts: int = 6
    first: float = 1.0
    longest: float = 60.0
    silence: float = 60.0

    def wait(self, failed: int, asked: float | None) -> float:
        """Seconds to wait after `failed` attempts in a row; `asked`: what the server asks for."""
        planned = min(self.first * 2 ** (failed - 1), self.longest) * random.uniform(0.8, 1.2)
        return max(planned, min(asked or 0.0, 10 * self.longest))


def download(
    url: str,
    path: Path,
    expected: Expected = Expected(),  # noqa: B008 - frozen
    *,
    pins: Pins | None = None,
    report: Reporter = SILENT,
    patience: Patience = Patience(),  # noqa: B008 - frozen
) -> Path:
    """The file at `url`, as `path`; a file that is there already is checked, and never replaced.

    While it comes it is called `path`.part; that is what an interrupted download leaves, and the next one
    continues from, as long as the server still has the same version. Two processes do not get in each other's
    way. A file is pinned by its SHA-256 at the first download and held to it later.

    Raises:
        UserError: the server refuses, fails for longer than `patience`, or sends something else than was
            published; the disk is too small; what is at `path` is not the file.
        OSError: the disk fails, naming the file.
    """
    pins = pins or Pins()
    if path.exists():
        verify(url, path, expected, pins=pins, report=report)
        return path
    with locked(path, report) as part:
        if path.exists():  # another process was faster
            verify(url, path, expected, pins=pins, report=report)
            return path
        if not expected.digest and pins.sha256(url) is None:
            report.say(f"{path.name}: no hash of it is printed; it is trusted as it comes, and pinned then")
        try:
            _Download(url, part, expected, pins, report, patience).run()
        except Refused as error:
            raise UserError(f"{url}: {error}") from error
        part.finish()
    return path


def verify(
    url: str, path: Path, expected: Expected, *, pins: Pins | None = None, report: Reporter = SILENT
) -> str:
    """Checks a file that is on the disk already, and pins it. Returns its SHA-256, hexadecimal.

    Raises UserError saying what is wrong with it.
    """
    wrong, sha256 = _check(url, path, expected, pins or Pins(), report)
    if wrong is not None:
        raise UserError(f"{path}: {wrong}; delete it to download it again")
    return sha256


@dataclass
class _Download:
    url: str
    part: Part
    expected: Expected
    pins: Pins
    report: Reporter
    patience: Patience

    def run(self) -> None:
        """Brings the part to its end and checks it; once more from the start if it was put together from
        several connections and came out wrong. Raises Refused or UserError."""
        for last in (False, True):
            pieced = self._receive()
            wrong, _ = _check(self.url, self.part.path, self.expected, self.pins, self.report)
            if wrong is None:
                return
            self.part.discard()
            if last or not pieced:
                raise UserError(f"{self.url}: what came is not what was published: {wrong}; it was deleted")
            self.report.say(f"{self.part.final.name}: {wrong}; downloading it again from the start")

    def _receive(self) -> bool:
        """Receives the rest. Returns whether it is pieced together from several connections."""
        failed, pieced, reached = 0, False, self.part.size
        while True:
            try:
                return self._attempt() or pieced
            except Broken as error:
                if isinstance(error, Changed):
                    self.part.discard()
                failed = 1 if self.part.size > reached else failed + 1
                reached = max(reached, self.part.size)  # a server without parts begins anew each time
                pieced = self.part.size > 0
                if failed >= self.patience.attempts:
                    kept = f"; {self.part.size:,} bytes are kept in {self.part.path}" if pieced else ""
                    raise UserError(f"{self.url}: {error} ({failed} attempts){kept}") from error
                wait = self.patience.wait(failed, error.wait)
                self.report.say(f"{self.part.final.name}: {error}; trying again in {wait:.0f} s")
                time.sleep(wait)

    def _attempt(self) -> bool:
        """One connection. Returns whether it continued what an earlier one had brought. Raises Broken."""
        part, origin = self.part, self.part.origin(self.url)
        if origin and origin.total == part.size:  # all had come, but was not yet checked
            return True
        start = part.size if origin and origin.validator else 0
        answer = request(self.url, start, origin.validator if start else "", self.patience.silence)
        with answer.body:
            _require_size(answer, self.expected)
            if answer.start and origin.total not in (None, answer.total):
                raise Changed(f"the server has {answer.total:,} bytes now, it had {origin.total:,}")
            if not answer.start:
                part.restart(Origin(self.url, answer.validator, answer.total))
            _require_space(part, answer.total)
            most = self.expected.size if answer.total is None else answer.total
            while block := answer.read(_BLOCK):
                if most is not None and part.size + len(block) > most:
                    part.discard()
                    raise Refused(f"the server sends more than the {most:,} bytes of the file")
                part.write(block)
                self.report.progress(part.final.name, part.size, answer.total)
        if answer.total is not None and part.size != answer.total:
            raise Broken(f"the connection ended after {part.size:,} of {answer.total:,} bytes")
        return bool(answer.start)


def _require_size(answer: Answer, expected: Expected) -> None:
    if None not in (answer.total, expected.size) and answer.total != expected.size:
        raise Refused(f"the server has {answer.total:,} bytes, {expected.size:,} were published")


def _require_space(part: Part, total: int | None) -> None:
    if total is None:
        return
    needed, free = total - part.size, shutil.disk_usage(part.path.parent).free
    if needed + _SPARE > free:
        raise UserError(
            f"{part.final}: {gigabytes(needed)} are still needed, {gigabytes(free)} are free on this disk"
        )


def _check(url: str, path: Path, expected: Expected, pins: Pins, report: Reporter) -> tuple[str | None, str]:
    """What is wrong with a file, or None, and its SHA-256. What is right is pinned."""
    wrong = size_fault(path, expected) or content_fault(path)
    if wrong is not None:
        return wrong, ""
    found = digests(path, {"sha256", expected.algorithm} - {""}, report)
    sha256, pinned = found["sha256"], pins.sha256(url)
    wrong = hash_fault(expected, found)
    if wrong is None and pinned not in (None, sha256):
        wrong = f"its sha256 begins with {sha256[:12]}, at first it began with {pinned[:12]} ({pins.path})"
    if wrong is None:
        pins.add(url, sha256, path.stat().st_size)
    return wrong, sha256


def gigabytes(size: int) -> str:
    """A size in words."""
    return f"{size / 1e9:.2f} GB" if size >= 1e7 else f"{size / 1e6:.2f} MB"
