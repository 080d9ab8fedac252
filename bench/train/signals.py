"""SIGTERM and SIGINT end a run at the next step boundary, with a checkpoint, instead of anywhere."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_AGAIN = 1.0
"""Seconds after which a second SIGINT means "now": schedulers and launchers may send the first one twice."""


class Stopped(Exception):
    """A run that a signal ended; it continues from its last checkpoint."""

    def __init__(self, number: int, step: int | None = None) -> None:
        done = "" if step is None else f" after step {step}"
        super().__init__(f"stopped by {signal.Signals(number).name}{done}")
        self.number, self.step = number, step

    @property
    def status(self) -> int:
        """The exit status by convention: 143 for SIGTERM, 130 for SIGINT."""
        return 128 + self.number


class Signals:
    """Called, it gives the number of the signal that asked to stop, or 0."""

    def __init__(self) -> None:
        self._number, self._at, self._urgent = 0, 0.0, False

    def __call__(self) -> int:
        return self._number

    @contextmanager
    def caught(self) -> Iterator[Signals]:
        """Within, the signals are noted. A second SIGINT raises KeyboardInterrupt. Does nothing outside the
        main thread, where Python does not allow it."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before = {number: signal.signal(number, self._note) for number in _SIGNALS}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Within, a signal raises Stopped: for what takes long and can be done again."""
        self._urgent = True
        try:
            yield
        finally:
            self._urgent = False

    def _note(self, number: int, _frame: object) -> None:
        now = time.monotonic()
        if number == signal.SIGINT and self._number and now - self._at > _AGAIN:
            raise KeyboardInterrupt
        if not self._number:
            self._number, self._at = number, now
        if self._urgent:
            raise Stopped(number)
