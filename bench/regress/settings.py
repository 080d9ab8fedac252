"""The numbers that systems are made and trained with, exactly: weights of losses, thresholds, rates.

A result moves only where a number lies between an old and a new threshold; the threshold itself always does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bench.regress.check import Change, Numbers, Progress, both, gone_or_new, shown
from bench.regress.systems import INFERENCES, first_presets

_PARTS = ("loss", "inference")


class Settings:
    """The numeric fields of loss, inference and training recipe of each system's first preset for a task."""

    title = "Settings"
    by_platform = False

    def measure(self, progress: Progress) -> Numbers:
        """By "preset, loss.FIELD", "preset, inference.FIELD" and "preset, train.FIELD"; fields within fields
        have their path."""
        import models
        from bench.tasks import split_preset
        from bench.train.recipes import train_recipe
        from models.spec import to_dict

        jobs, found = first_presets(), {}
        with progress(len(jobs), "settings") as advance:
            for job in jobs:
                spec = models.preset(job.preset)
                held = {part: to_dict(getattr(spec, part)) for part in _PARTS}
                held["train"] = to_dict(train_recipe(split_preset(job.preset)[0], spec, job.task))
                for other in INFERENCES.get(job.preset, ()):
                    held[other] = to_dict(spec.override({"inference": other}).inference)
                found |= {f"{job.preset}, {path}": numbers for path, numbers in _numbers(held)}
                advance(1)
        return found

    def compare(self, was: Numbers, now: Numbers, same_platform: bool) -> Iterator[Change]:
        """Anything that is not equal."""
        yield from gone_or_new("settings", was, now)
        for name, old, new in both(was, now):
            if old != new:
                yield Change("settings", name, shown(old), shown(new), "equal")


def _numbers(value: Any, path: str = "") -> Iterator[tuple[str, list[float]]]:
    """The numbers and lists of numbers in nested mappings, with their paths."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _numbers(item, f"{path}.{name}" if path else name)
        return
    items = value if isinstance(value, list | tuple) else [value]
    if items and all(isinstance(item, int | float) for item in items):
        yield path, [float(item) for item in items]
