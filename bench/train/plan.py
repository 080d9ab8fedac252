"""What a training would be and take, without data and without training: `train --dry-run`."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import cache
from statistics import fmean
from typing import Any

import torch

from bench.data.registry import registered
from bench.errors import UserError
from bench.train.precision import amp_dtype
from bench.train.recompute import recompute_blocks
from bench.train.schedule import PolySchedule, ScheduleSpec, StepSchedule
from bench.train.spec import TrainSpec
from models.spec import Spec, SpecError

_BACKWARD = 3
"""Work of a step in forwards: the backward pass takes two."""
_OBJECTS = 20
"""Objects an image where `bench.protocol.memory.papers` has no number for the data set."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A training that is not run. `processes`: how many would share its batches, a device each."""

    label: str
    preset: str
    dataset: str
    model: Spec
    run: TrainSpec
    processes: int = 1

    @property
    def images(self) -> int:
        """Images in the training split."""
        counts = registered(self.dataset).counts_for(self.run.task)
        if "train" in counts:
            return counts["train"]
        from bench.data import open_dataset

        return len(open_dataset(self.dataset))  # only what is generated has no counts

    @property
    def epochs(self) -> float:
        """How often an image is seen."""
        return self.run.steps * self.run.batch / self.images

    @property
    def part(self) -> int:
        """Images that a device computes at once. Raises UserError if the batch cannot be divided so."""
        parts = self.processes * self.run.accumulate
        if self.run.batch % parts:
            raise UserError(f"batch = {self.run.batch} cannot be divided by {parts}")
        return self.run.batch // parts

    def lines(self, device: torch.device) -> list[str]:
        """The plan in words; memory and time take some seconds to find."""
        run = self.run
        precision = _precision(run) + ", activations recomputed" * run.checkpointing
        shared = f", {self.processes} processes" if self.processes > 1 else ""
        parts = f", in {run.accumulate} parts" if run.accumulate > 1 else ""
        return [
            f"{self.label}: {self.preset} on {self.dataset}, {run.task}",
            f"  {run.steps:,} steps of {run.batch} images{shared}{parts}: {self.epochs:.1f} epochs of "
            f"{self.images:,} images",
            f"  images {size_words(run)}; {precision}",
            f"  lr {run.lr:g}, {_schedule(run.schedule)}, weight decay {run.weight_decay:g}, clip "
            f"{run.clip or 'off'}",
            f"  memory: {memory_words(self)}",
            f"  time: {time_words(self, device)}",
        ]


def largest_size(run: TrainSpec) -> tuple[int, int]:
    """Height and width of the largest training image, of 3:4 where nothing limits the longer side."""
    return _size(run, max)


def typical_size(run: TrainSpec) -> tuple[int, int]:
    """The same of a mean one."""
    return _size(run, fmean)


def _size(run: TrainSpec, which: Any) -> tuple[int, int]:
    crop, sides = getattr(run.augment, "crop", None), getattr(run.augment, "short_sides", ())
    if crop:
        return crop
    if not sides:
        return 192, 192  # what is generated
    short = round(which(sides))
    longest, limit = run.augment.long_max, round(short * 4 / 3)  # type: ignore[attr-defined]
    if which is max and longest < 2 * short:
        return short, longest
    return short, min(limit, longest)


def size_words(run: TrainSpec) -> str:
    """The sizes of training images."""
    height, width = largest_size(run)
    if getattr(run.augment, "crop", None):
        return f"cropped to {height}x{width}"
    return f"up to {height}x{width}"


def memory_words(plan: Plan) -> str:
    """The predicted peak on a device, or why there is none."""
    try:
        return predicted_memory(plan)
    except (SpecError, UserError) as error:
        return f"not predicted: {error}"


def predicted_memory(plan: Plan) -> str:
    """The peak of a step in GiB and what it is of. Raises SpecError for a system that cannot be predicted.

    Of a large part of a batch it is extrapolated from one and two images, which is right within 2 % of 16.
    """
    from bench.protocol.memory import PROTOCOL, MemorySetting, predict
    from bench.protocol.memory.papers import OBJECTS

    height, width = (-(-side // 32) * 32 for side in largest_size(plan.run))
    amp = "bf16" if plan.run.amp == "auto" else plan.run.amp
    setting = MemorySetting(
        batch=min(plan.part, 2), crop=(height, width), objects=OBJECTS.get(plan.dataset, _OBJECTS), amp=amp,
        formulation="ours", keep_gradients=False, buckets=plan.processes > 1,
    )  # fmt: skip
    model: Any = Recomputed(plan.model) if plan.run.checkpointing else plan.model
    peak, how = predict(model, setting).peak, ""
    if plan.part > 2:
        peak += (plan.part - 2) * (peak - predict(model, replace(setting, batch=1)).peak)
        how = ", extrapolated from 1 and 2"
    of = f"{plan.part} image{'s' * (plan.part > 1)} of {height}x{width}{how}"
    return (
        f"{peak / 2**30:.1f} GiB on a GPU for {of}, {amp}, {setting.objects} objects an image "
        f"({PROTOCOL}, our layers)"
    )


class Recomputed:
    """A model's spec that builds it with activation checkpointing, for predictions of its memory."""

    def __init__(self, spec: Spec) -> None:
        self._spec = spec

    def __getattr__(self, name: str) -> Any:
        return getattr(self._spec, name)

    def build(self, device: str = "cpu") -> torch.nn.Module:
        from bench.protocol.memory.autocast import cuda_rules

        model = self._spec.build(device=device)
        recompute_blocks(model, cuda_rules)
        return model


def time_words(plan: Plan, device: torch.device) -> str:
    """The hours that the arithmetic of all steps takes at the rate of convolutions here."""
    size = typical_size(plan.run)
    rate = convolution_rate(device, amp_dtype(plan.run.amp, device))
    macs = forward_macs(plan.model, size)
    flops = 2 * _BACKWARD * macs * plan.run.steps * plan.run.batch
    hours = flops / rate / plan.processes / 3600
    return (
        f"at least {hours:,.3g} hours on {plan.processes} x {device.type} such as this one: 3 forwards of "
        f"{size[0]}x{size[1]} an image and step (flops/exact-v1) at the {rate / 1e9:,.4g} GFLOP/s that "
        "convolutions reach here"
    )


def forward_macs(model: Spec, size: tuple[int, int]) -> int:
    """Multiply-adds of one image, auxiliary predictions included."""
    from bench.protocol import flops

    end = "located_and_masked" if model.part == "panoptic_segformer" else "everything"
    return flops.count(model, size, protocol="flops/exact-v1", end=end).total


@cache
def convolution_rate(device: torch.device, dtype: torch.dtype | None) -> float:
    """Operations a second of a 3x3 convolution, forward and backward, measured in a fraction of a second."""
    cuda = device.type == "cuda"
    images, channels, side = (16, 256, 128) if cuda else (1, 128, 64)
    layer = torch.nn.Conv2d(channels, channels, 3, padding=1, bias=False).to(device, dtype)
    x = torch.randn(images, channels, side, side, device=device, dtype=dtype, requires_grad=True)
    best = float("inf")
    for _ in range(4):  # the first one prepares
        began = time.perf_counter()
        layer(x).sum().backward()
        if cuda:
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - began)
    return 2 * _BACKWARD * images * side**2 * 9 * channels**2 / best


def _precision(run: TrainSpec) -> str:
    words = {"auto": "bf16 on CUDA, float32 elsewhere", "off": "float32"}
    return words.get(run.amp, run.amp)


def _schedule(schedule: ScheduleSpec) -> str:
    words = schedule.part
    if isinstance(schedule, PolySchedule):
        words = f"poly {schedule.power:g}"
    elif isinstance(schedule, StepSchedule):
        after = " and ".join(f"{100 * share:.1f} %" for share in schedule.milestones)
        words = f"x {schedule.gamma:g} after {after}"
    return f"{words}, warm-up {schedule.warmup:,}" if schedule.warmup else words

