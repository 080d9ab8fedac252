"""What a regression check is: it measures numbers by name, and compares them with those of a baseline."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

Numbers = dict[str, list[float]]
"""Name of a quantity -> its numbers; JSON-able."""

Progress = Callable[[int, str], AbstractContextManager[Callable[[int], object]]]
"""Opens a bar of so many steps under a name; gives what is called with the steps that were done."""


@dataclass(frozen=True)
class Change:
    """A quantity that moved: what it was and is, in words, and what would have been allowed."""

    check: str
    quantity: str
    was: str
    now: str
    allowed: str


class Check(Protocol):
    """One kind of regression check."""

    title: str
    by_platform: bool
    """Whether the numbers depend on the processor and on PyTorch's version; see `Baseline`."""

    def measure(self, progress: Progress) -> Numbers:
        """The numbers as they are now."""

    def compare(self, was: Numbers, now: Numbers, same_platform: bool) -> Iterator[Change]:
        """What moved. `same_platform`: whether both were measured on one kind of machine."""


def platform_name() -> str:
    """The kind of machine that floating-point results depend on: system, processor, PyTorch's version."""
    import torch

    version = ".".join(torch.__version__.split("+")[0].split(".")[:2])
    capability = torch.backends.cpu.get_cpu_capability()
    return f"{platform.system()}-{platform.machine()}-{capability}-torch{version}".lower()


def gone_or_new(check: str, was: Numbers, now: Numbers) -> Iterator[Change]:
    """The quantities that only one side has."""
    for name in was:
        if name not in now:
            yield Change(check, name, shown(was[name]), "gone", "")
    for name in now:
        if name not in was:
            yield Change(check, name, "not in the baseline", shown(now[name]), "")


def both(was: Numbers, now: Numbers) -> Iterator[tuple[str, list[float], list[float]]]:
    """The quantities that both sides have."""
    return ((name, was[name], now[name]) for name in was if name in now)


def shown(numbers: Iterable[float]) -> str:
    """Numbers for a reader; the first four of many."""
    numbers = list(numbers)
    text = ", ".join(f"{number:.10g}" for number in numbers[:4])
    return text if len(numbers) <= 4 else f"{text}, ... ({len(numbers)})"
