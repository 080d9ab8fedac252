"""How a download tells what it does."""

from __future__ import annotations

import sys
from typing import Protocol


class Reporter(Protocol):
    """Hears of a download."""

    def say(self, line: str) -> None:
        """Something that a person should read."""

    def progress(self, label: str, done: int, total: int | None) -> None:
        """`done` of `total` bytes; None: nobody knows how many there are."""


class _Silent:
    def say(self, line: str) -> None:
        pass

    def progress(self, label: str, done: int, total: int | None) -> None:
        pass


SILENT: Reporter = _Silent()


class Bar:
    """Draws a bar on a terminal's standard error, and writes lines there; use it as a context manager."""

    def __init__(self) -> None:
        self._bar, self._label = None, ""

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *error: object) -> None:
        self._close()

    def say(self, line: str) -> None:
        from tqdm import tqdm

        tqdm.write(line, file=sys.stderr)

    def progress(self, label: str, done: int, total: int | None) -> None:
        from tqdm import tqdm

        if self._bar is None or label != self._label or done < self._bar.n:
            self._close()
            self._label = label
            self._bar = tqdm(
                desc=label, initial=done, total=total, unit="B", unit_scale=True, unit_divisor=1024,
                file=sys.stderr, leave=False, disable=None,
            )  # fmt: skip
        self._bar.update(done - self._bar.n)
        if done == total:
            self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
