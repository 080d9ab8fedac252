"""One training step, watched by a tracker: the same code on fake and on real tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from bench.protocol.memory.autocast import cuda_autocast
from bench.protocol.memory.formulation import FORMULATIONS, formulation
from bench.protocol.memory.tracker import Tracker
from bench.train.optimizer import build_optimizer
from bench.train.spec import TrainSpec
from models.outputs import MaskTarget
from models.spec import SpecError

Amp = Literal["off", "fp16", "bf16"]
DTYPES: dict[str, torch.dtype | None] = {"off": None, "fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass(frozen=True, kw_only=True)
class MemorySetting:
    """What a step is of, and whose code runs it.

    Attributes:
        batch: images on the device.
        crop: height and width of an image, multiples of 32.
        objects: masks of each image, all images alike.
        amp: number format of autocast.
        formulation: "authors": attention as on the PyTorch of the papers' day; "released": that, and DFPQ as
            FASeg released it; "ours": our own layers.
        keep_gradients: gradients are set to zero between steps, as PyTorch did before 2.0; else freed.
        buckets: the copy of all gradients that DistributedDataParallel keeps for its messages.
    """

    batch: int
    crop: tuple[int, int]
    objects: int = 20
    amp: Amp = "off"
    formulation: Literal["authors", "released", "ours"] = "authors"
    keep_gradients: bool = True
    buckets: bool = False

    def __post_init__(self) -> None:
        if self.batch < 1 or self.objects < 0:
            raise SpecError("memory: the batch must be at least 1, the number of objects not negative")
        if any(length < 32 or length % 32 for length in self.crop):
            raise SpecError(f"memory: a crop of {self.crop} is not made of multiples of 32")
        if self.amp not in DTYPES:
            raise SpecError(f"memory: no number format {self.amp!r}; there are {', '.join(DTYPES)}")
        if self.formulation not in FORMULATIONS:
            raise SpecError(
                f"memory: no formulation {self.formulation!r}; there are {', '.join(FORMULATIONS)}"
            )


def run_step(skeleton: nn.Module, setting: MemorySetting, tracker: Tracker) -> dict[str, int]:
    """Runs the second step of a training of a model, given on `meta`, under `tracker`, whose peaks are then
    those of its phases "forward", "loss", "backward", "optimizer"; returns bytes that live through the step.

    The first step only makes the optimizer's state; it is taken with gradients of zero.
    """
    spec, model = skeleton.spec, materialise(skeleton).train()
    criterion = spec.loss.build(spec.num_classes)
    optimizer = build_optimizer(model, TrainSpec())
    trained = [p for group in optimizer.param_groups for p in group["params"]]
    with tracker:
        rest = {
            "parameters": tracker.adopt(list(model.parameters())),
            "buffers": tracker.adopt(list(model.buffers())),
        }
        before = tracker.live
        for parameter in trained:
            parameter.grad = torch.zeros_like(parameter)
        gradients = tracker.live - before
        optimizer.step()
        rest["optimizer"] = tracker.live - before - gradients
        if setting.keep_gradients:
            rest["gradients"] = gradients
        else:
            optimizer.zero_grad(set_to_none=True)
        before = tracker.live
        buckets = [torch.zeros_like(p) for p in trained] if setting.buckets else []
        if buckets:
            rest["buckets"] = tracker.live - before
        before = tracker.live
        images, targets = batch_of(setting, spec.num_classes)
        rest["batch"] = tracker.live - before
        tracker.peaks.clear()
        with formulation(setting.formulation):
            _step(model, criterion, optimizer, setting, images, targets, tracker)
    return rest


def _step(
    model: nn.Module,
    criterion: nn.Module,
    optimizer: torch.optim.Optimizer,
    setting: MemorySetting,
    images: Tensor,
    targets: Sequence[MaskTarget],
    tracker: Tracker,
) -> None:
    """The trainer's step (`bench.train.trainer`) without what reads numbers back."""
    normaliser = {"masks": float(max(setting.batch * setting.objects, 1))}
    if setting.keep_gradients:
        optimizer.zero_grad(set_to_none=False)
    with tracker.phase("forward"), cuda_autocast(DTYPES[setting.amp]):
        output = model(images)
    with tracker.phase("loss"):
        losses = criterion(output, targets, normaliser=normaliser)
        total = criterion.total(losses)
    del output, losses
    with tracker.phase("backward"):
        total.backward()
    del total
    with tracker.phase("optimizer"):
        trained = [p for p in model.parameters() if p.grad is not None]
        norm = nn.utils.get_total_norm([p.grad for p in trained])
        nn.utils.clip_grads_with_norm_(trained, 0.01, norm)
        optimizer.step()


def materialise(model: nn.Module) -> nn.Module:
    """The same model with parameters and buffers of ones on the CPU in place of those on `meta`.

    Initialisers read numbers, so a model cannot be built of fake tensors at once. What is shared stays so.
    """
    made: dict[Tensor, Tensor] = {}
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter not in made:
                ones = torch.ones(parameter.shape, dtype=parameter.dtype)
                made[parameter] = nn.Parameter(ones, requires_grad=parameter.requires_grad)
            setattr(module, name, made[parameter])
        for name, buffer in module.named_buffers(recurse=False):
            setattr(module, name, torch.ones(buffer.shape, dtype=buffer.dtype))
    return model


def batch_of(setting: MemorySetting, num_classes: int) -> tuple[Tensor, list[MaskTarget]]:
    """Images and targets of the shapes of a setting; the objects of an image have classes 0, 1, ..."""
    count = setting.objects
    images = torch.zeros(setting.batch, 3, *setting.crop)
    return images, [_target(count, setting.crop, num_classes) for _ in range(setting.batch)]


def _target(count: int, crop: tuple[int, int], num_classes: int) -> MaskTarget:
    masks: Any = torch.zeros(count, *crop, dtype=torch.bool)
    return MaskTarget(torch.arange(count) % num_classes, masks)
