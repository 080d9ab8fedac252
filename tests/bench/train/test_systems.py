"""Every system learns in the one trainer, for each task that it has presets of: a few seconds each.

The long version, `python -m bench train --preset NAME --mini --dataset embedded --overfit 4`, and what it has
to reach stand in `bench/train/README.md`.
"""

import math

import pytest
import torch

import models
from bench.data import open_dataset
from bench.data.loader import TrainLoader
from bench.data.targets import Targets
from bench.data.transforms import TrainTransform
from bench.evaluate import evaluate
from bench.mini.shrink import shrink
from bench.tasks import SHOWN, TaskView, fit_classes, split_preset, things_first
from bench.train import Trainer
from bench.train.recipes import overfit_recipe

FIRST = {}  # of each system, the first preset for each task
for _name in models.presets():
    FIRST.setdefault((models.preset(_name).part, "faseg" in _name, split_preset(_name)[1]), _name)
STEPS = 8


@pytest.mark.parametrize("name", FIRST.values())
def test_two_small_pictures_are_learned_and_scored(name):
    task, full = split_preset(name)[1], models.preset(name)
    data = TaskView(open_dataset("embedded", size=64, length=2), task, things_first(full))
    recipe = overfit_recipe(2).override({"task": task, "steps": STEPS, "schedule.warmup": 2})
    torch.manual_seed(0)
    trainer = Trainer(shrink(fit_classes(full, data.info), task).build(), recipe)
    loader = TrainLoader(
        data, TrainTransform(recipe.augment), 2, 0, size_divisor=trainer.model.size_divisor,
        targets=Targets(task, data.info.things),
    )  # fmt: skip
    losses = [trainer.step(step, loader.batch(step))["loss"] for step in range(STEPS)]
    assert sum(losses[-3:]) < 0.95 * sum(losses[:3])
    scores = evaluate(trainer.model, data, task)
    assert set(SHOWN[task]) <= set(scores) and len(scores["per_class"]) == data.info.num_classes
    assert math.isfinite(scores[SHOWN[task][0]])
