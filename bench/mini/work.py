"""One training of a mini replication: a row, a seed, a record."""

import math
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from bench.evaluate import evaluate, mean_iou
from bench.mini.arenas import Setting
from bench.mini.budgets import Budget
from bench.train import Hooks, TrainSpec, train
from bench.train.folder import device_name
from bench.train.trainer import seed_everything
from models.spec import Spec
from ops import active_backend

_MAJORITY_IMAGES = 100


@dataclass(frozen=True, kw_only=True)
class Job:
    """A training to be done: `model` as `train` says, evaluated, its run folder kept in `folder` until it is
    done.

    `key` is that of the record it makes.
    """

    key: str
    row: int
    model: Spec
    train: TrainSpec
    setting: Setting
    budget: Budget
    folder: Path

    @property
    def label(self) -> str:
        """What messages call it."""
        return f"row {self.row}"


def perform(job: Job, report: Callable[[int], None]) -> dict:
    """Trains and evaluates; calls `report` with the number of completed steps. Returns the record, JSON-able.

    A run that was killed continues from its checkpoint. Computes with one thread, so that the result does not
    depend on how many jobs run side by side.
    """
    torch.set_num_threads(1)
    training, evaluation = job.setting.datasets(job.budget)
    began, used = time.monotonic(), time.process_time()
    seed_everything(job.train.seed)  # the very weights that the training starts from
    untrained = evaluate(job.model.build(), evaluation, "semantic")
    evaluating = time.monotonic() - began
    hooks = Hooks(report=lambda step, _: report(step))
    result = train(job.model, job.train, training, job.folder, device="cpu", progress=False, hooks=hooks)
    began = time.monotonic()
    scores = evaluate(result.model, evaluation, "semantic")
    evaluating += time.monotonic() - began
    shutil.rmtree(job.folder)
    return {
        "row": job.row,
        "seed": job.train.seed,
        "score": scores["mIoU"],
        "untrained": untrained["mIoU"],
        "per_class": [None if math.isnan(value) else value for value in scores["per_class"]],
        "final_loss": result.metrics[-1]["loss"],
        "parameters": sum(p.numel() for p in result.model.parameters()),
        "wall_seconds": round(result.seconds + evaluating, 1),
        "cpu_seconds": round(time.process_time() - used, 1),
        "device": device_name(torch.device("cpu")),
        "operators": active_backend(),
    }


def majority_score(setting: Setting, budget: Budget) -> float:
    """The mIoU, in percent, of giving every pixel the class that most pixels of the first training images
    have."""
    training, evaluation = setting.datasets(budget)
    classes = training.info.num_classes
    counts = torch.zeros(classes, dtype=torch.int64)
    for index in range(min(_MAJORITY_IMAGES, len(training))):
        sample = training[index]
        labels = sample.semantic[sample.semantic != training.info.ignore_index]
        counts += torch.bincount(labels.flatten().long(), minlength=classes)
    common = int(counts.argmax())
    pairs = ((torch.full_like(s.semantic, common), s.semantic) for s in evaluation)
    return mean_iou(pairs, classes, training.info.ignore_index)["mIoU"]
