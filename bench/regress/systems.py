"""Every system, for each task it has presets of: the losses of 50 training steps, and what its inference
makes of given predictions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import fmean

from bench.regress.check import Change, Numbers, Progress, both, gone_or_new, shown

STEPS, IMAGES, SIZE = 50, 2, 96
EXACT = 1e-4
"""Relative difference of a loss that is allowed on one kind of machine: processors of one kind round alike
but for the order in which libraries add."""
EARLY, NEAR, FAR = 3, 1e-3, 0.25
"""On another kind of machine: what the first steps' losses may differ by, and the mean of the last ten, after
which rounding has grown."""


INFERENCES = {"panoptic_segformer_r50_coco": ("pixel_argmax", "heuristic")}
"""Further inferences that a system is compared with: those that no first preset has."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A preset to be trained for its task."""

    preset: str
    task: str

    @property
    def label(self) -> str:
        """What messages call it."""
        return self.preset


class Systems:
    """Losses by step, and the segments, objects and class areas that come of given predictions."""

    title = "Systems"
    by_platform = True

    def measure(self, progress: Progress) -> Numbers:
        """By "preset, losses", "preset, semantic|panoptic|instance results" and the same "with" a further
        inference."""
        from bench.pool import run_jobs

        jobs = first_presets()
        done: dict[str, Numbers] = {}
        with progress(len(jobs), "systems") as advance:
            for job, numbers in run_jobs(jobs, perform, lambda job, steps: None):
                done[job.preset] = numbers
                advance(1)
        return {name: numbers for job in jobs for name, numbers in done[job.preset].items()}

    def compare(self, was: Numbers, now: Numbers, same_platform: bool) -> Iterator[Change]:
        """Losses and results that moved by more than rounding does."""
        yield from gone_or_new("systems", was, now)
        for name, old, new in both(was, now):
            differs = _losses if name.endswith("losses") else _results
            allowed = differs(old, new, same_platform)
            if allowed:
                yield Change("systems", name, shown(old), shown(new), allowed)


def first_presets() -> list[Job]:
    """The first preset of each system for each task."""
    import models
    from bench.tasks import split_preset

    found: dict[tuple[str, bool, str], Job] = {}
    for name in models.presets():
        task = split_preset(name)[1]
        found.setdefault((models.preset(name).part, "faseg" in name, task), Job(preset=name, task=task))
    return list(found.values())


def perform(job: Job, report: Callable[[int], None]) -> Numbers:
    """Trains one system on two embedded pictures, on one thread, and gives its numbers."""
    import torch

    torch.set_num_threads(1)
    trainer, loader = _trainer(job)
    losses = [trainer.step(step, loader.batch(step))["loss"] for step in range(STEPS)]
    found = {f"{job.preset}, losses": losses}
    from bench.regress.predictions import results

    model = trainer.model
    for name, numbers in results(model).items():
        found[f"{job.preset}, {name}"] = numbers
    for other in INFERENCES.get(job.preset, ()):
        inference = model.spec.override({"inference": other}).inference.build()
        for name, numbers in results(model, inference).items():
            found[f"{job.preset} with {other}, {name}"] = numbers
    return found


def _trainer(job: Job):
    """The trainer of a job and its batches."""
    import torch

    import models
    from bench.data import open_dataset
    from bench.data.loader import TrainLoader
    from bench.data.targets import Targets
    from bench.data.transforms import TrainTransform
    from bench.mini.shrink import shrink
    from bench.tasks import TaskView, fit_classes, things_first
    from bench.train import Trainer
    from bench.train.recipes import overfit_recipe

    full = models.preset(job.preset)
    data = TaskView(open_dataset("embedded", size=SIZE, length=IMAGES), job.task, things_first(full))
    recipe = overfit_recipe(IMAGES).override({"task": job.task, "steps": STEPS})
    torch.manual_seed(0)
    trainer = Trainer(shrink(fit_classes(full, data.info), job.task).build(), recipe)
    loader = TrainLoader(
        data, TrainTransform(recipe.augment), IMAGES, 0, size_divisor=trainer.model.size_divisor,
        targets=Targets(job.task, data.info.things),
    )  # fmt: skip
    return trainer, loader


def _losses(old: list[float], new: list[float], same_platform: bool) -> str:
    """What is allowed, where it is broken; else ""."""
    if len(old) != len(new):
        return f"{len(old)} steps"
    if same_platform:
        return "" if _near(old, new, EXACT) else f"{EXACT:g} of each loss"
    if not _near(old[:EARLY], new[:EARLY], NEAR):
        return f"{NEAR:g} of the first {EARLY} losses, on another kind of machine"
    late = fmean(old[-10:]), fmean(new[-10:])
    return "" if _near(late[:1], late[1:], FAR) else f"{FAR:g} of the mean of the last ten losses"


def _results(old: list[float], new: list[float], same_platform: bool) -> str:
    share = EXACT if same_platform else 0.01
    return "" if len(old) == len(new) and _near(old, new, share) else f"{share:g} of each number"


def _near(old: list[float], new: list[float], share: float) -> bool:
    return all(math.isclose(a, b, rel_tol=share, abs_tol=share) for a, b in zip(old, new, strict=True))
