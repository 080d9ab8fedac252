"""Every system at mini size, for checks that two ways to train give the same."""

from contextlib import contextmanager

import torch

import models
from bench.data import open_dataset
from bench.data.loader import Batch, TrainLoader
from bench.data.targets import Targets
from bench.data.transforms import AugmentSpec, TrainTransform
from bench.mini.shrink import shrink
from bench.tasks import TaskView, fit_classes, split_preset, things_first
from bench.train import Trainer, TrainSpec
from bench.train.distributed import ALONE
from bench.train.recipes import without_dropout
from models.outputs import MaskTarget
from tests.bench.train.tiny import TinySpec
from tests.bench.train.toy import Squares

PRESETS = (
    "mask2former_r50_ade20k",
    "faseg_r50_ade20k",
    "maskformer_r50_ade20k",
    "pft_r50_ade20k",
    "panoptic_segformer_r50_coco",
    "detr_r50_coco_panoptic",
    "deformable_detr_r50_coco_panoptic",
)
TINY = "tiny"
"""A model with a batch norm that trains."""
SIZE, BATCH = 64, 4


def small(name, **run):
    """A model's spec without dropout, a run of it, and data: the embedded pictures."""
    run = {"steps": 20, "batch": BATCH, "lr": 1e-4, "clip": 0.1, "augment": AugmentSpec(flip=0.5), **run}
    if name == TINY:
        return TinySpec(dropout=0.0), TrainSpec(**run), Squares(8, SIZE)
    task, full = split_preset(name)[1], models.preset(name)
    data = TaskView(open_dataset("embedded", size=SIZE, length=8), task, things_first(full))
    return without_dropout(shrink(fit_classes(full, data.info), task)), TrainSpec(task=task, **run), data


@contextmanager
def double_precision():
    """Models, images and criteria compute in float64. In float32 the gradients of a batch and of its parts
    differ in the last bits, which sooner or later turn a matching or a choice of points."""
    single = torch.Tensor.float
    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = torch.Tensor.double
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)
        torch.Tensor.float = single


def trained(name, steps, world=ALONE, **run):
    """Trains for some steps; returns the metrics of each and the weights in the end."""
    spec, recipe, data = small(name, **run)
    torch.manual_seed(world.rank)  # other initial weights in other processes: those of the first count
    trainer = Trainer(spec.build(), recipe, world=world)
    loader = TrainLoader(
        data, TrainTransform(recipe.augment), BATCH // world.size, 0, rank=world.rank, world=world.size,
        size_divisor=trainer.model.size_divisor, targets=Targets(recipe.task, data.info.things),
    )  # fmt: skip
    values = [trainer.step(step, _hardened(loader.batch(step), step, world)) for step in range(steps)]
    return values, torch.cat([p.detach().flatten() for p in trainer.model.parameters()])


def apart(one, other, norms=False):
    """The largest difference of any loss at any step, relative to the loss where that is above 1; with
    `norms` that of the gradients' norms."""
    return max(
        abs(a[name] - b[name]) / max(1.0, abs(a[name]))
        for a, b in zip(one, other, strict=True)
        for name in a
        if (name == "gradient_norm") == norms
    )


def _hardened(batch, step, world):
    """Every third batch from the second on has no object in its second half, every third from the third on is
    half as high in its first half: what each of two processes may find."""
    batch = batch._replace(images=batch.images.to(torch.get_default_dtype()))
    half = BATCH // 2
    first = range(half) if world.size == 1 or world.first else range(0)
    second = [i for i in range(len(batch.images)) if i not in first]
    if step % 3 == 1:
        targets = [_without_objects(t) if i in second else t for i, t in enumerate(batch.targets)]
        return batch._replace(targets=targets)
    if step % 3 == 2 and first:
        return _lower(batch, first) if second else _cut(batch)
    return batch


def _without_objects(target):
    return MaskTarget(target.labels[:0], target.masks[:0])


def _cut(batch):
    targets = [MaskTarget(t.labels, t.masks[:, : SIZE // 2]) for t in batch.targets]
    return Batch(batch.images[:, :, : SIZE // 2], targets)


def _lower(batch, images):
    batch.images[images.start : images.stop, :, SIZE // 2 :] = 0
    for i in images:
        batch.targets[i].masks[:, SIZE // 2 :] = False
    sizes = [(SIZE // 2, SIZE) if i in images else (SIZE, SIZE) for i in range(len(batch.images))]
    return batch._replace(sizes=sizes)
