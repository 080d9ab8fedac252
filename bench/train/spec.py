"""What a training run is, apart from its model and its data."""

import math
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from bench.data.transforms import AugmentationSpec, ade20k_augment
from bench.train.schedule import PolySchedule, ScheduleSpec
from models.inference import Task
from models.spec import Spec, SpecError


@dataclass(frozen=True, kw_only=True)
class TrainSpec(Spec):
    """One training run. The defaults are those of Mask2Former and FASeg on ADE20K (released configs).

    Attributes:
        task: what the targets are: a mask for each class, each object and stuff class, or each object.
        steps: optimizer steps; 160,000 on ADE20K, 90,000 on Cityscapes.
        batch: images in a step.
        accumulate: parts that each process computes its share of a batch in, for devices with little memory.
            The result is that of the whole batch, but for dropout and for the statistics of batch norms that
            train.
        checkpointing: compute what is inside the model's layers again for the gradient instead of keeping it:
            less memory, the time of a forward more, the same result.
        lr: base learning rate; 1e-4 for fine-tuning, up to 2e-3 for small models from random weights.
        backbone_lr_factor: times `lr` for the modules named in `slow`; 0.1 for pretrained ones, 1 from random
            weights.
        slow: a parameter learns at that lower rate if a part of its dotted name is one of these.
        weight_decay: of all but norm layers, embeddings and tables of positional biases; see `decay_all`.
        decay_all: decay those, too.
        clip: largest L2 norm of the gradient of the whole model; None for no clipping.
        amp: "auto" is bfloat16 (or float16 where the device lacks it) on CUDA and "off" elsewhere.
        augment: what happens to a training image.
        seed: of the initial weights, the order of the data, augmentation, dropout and the sampled points.
        checkpoint_every: steps; a killed run repeats at most so many.
        eval_every: steps between evaluations where an evaluation dataset is given; 0 for none but the last.
    """

    part: ClassVar[str] = "train"
    task: Task = "semantic"
    steps: int = 160_000
    batch: int = 16
    accumulate: int = 1
    lr: float = 1e-4
    backbone_lr_factor: float = 0.1
    slow: tuple[str, ...] = ("backbone",)
    weight_decay: float = 0.05
    decay_all: bool = False
    clip: float | None = 0.01
    schedule: ScheduleSpec = field(default_factory=PolySchedule)
    amp: Literal["auto", "off", "bf16", "fp16"] = "auto"
    checkpointing: bool = False
    augment: AugmentationSpec = field(default_factory=ade20k_augment)
    seed: int = 0
    checkpoint_every: int = 1000
    eval_every: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "accumulate", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise SpecError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.batch % self.accumulate:
            raise SpecError(f"accumulate = {self.accumulate} does not divide batch = {self.batch}")
        for name in ("lr", "backbone_lr_factor", "weight_decay", "clip"):
            if not math.isfinite(getattr(self, name) or 0):
                raise SpecError(f"{name} must be a finite number, not {getattr(self, name)}")
        if not 0 <= self.seed < 2**63:
            raise SpecError(f"seed must be from 0 to {2**63 - 1}, not {self.seed}")
        if self.eval_every < 0:
            raise SpecError(f"eval_every must not be negative, and is {self.eval_every}")
        if self.lr < 0 or self.weight_decay < 0 or (self.clip is not None and self.clip <= 0):
            raise SpecError("lr and weight_decay must not be negative, clip must be positive")
