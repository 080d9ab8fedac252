"""A training run in a folder: started, killed, continued, finished."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from bench.data.base import SegmentationDataset
from bench.data.loader import Batch, TrainLoader
from bench.data.targets import Targets
from bench.data.transforms import TrainTransform
from bench.train.checkpoint import load_checkpoint, save_checkpoint
from bench.train.folder import RunFolder, device_name
from bench.train.log import StepLog, read_log
from bench.train.spec import TrainSpec
from bench.train.trainer import Trainer
from models.spec import Spec


@dataclass(frozen=True)
class TrainResult:
    """A finished run.

    Attributes:
        model: the trained model, in eval mode, on the run's device.
        metrics: one dict a step, as in `metrics.jsonl`.
        seconds: time spent training over all starts of the run, evaluation included.
        out: the run folder.
    """

    model: nn.Module
    metrics: list[dict]
    seconds: float
    out: Path


@dataclass(frozen=True, kw_only=True)
class Hooks:
    """What a caller adds to a run; nothing here changes what is computed.

    Attributes:
        initialise: loads weights into the freshly built model; not called when a run continues.
        evaluate: model in eval mode to scores; called every `eval_every` steps and after the last one.
        report: called after every step with its number and its line of metrics.
    """

    initialise: Callable[[nn.Module], object] | None = None
    evaluate: Callable[[nn.Module], dict] | None = None
    report: Callable[[int, dict], None] | None = None


def train(
    model_spec: Spec,
    train_spec: TrainSpec,
    dataset: SegmentationDataset,
    out: str | Path,
    *,
    resume: bool = True,
    progress: bool = True,
    device: torch.device | str | None = None,
    workers: int = 0,
    hooks: Hooks = Hooks(),
) -> TrainResult:
    """Trains `model_spec` on `dataset` as `train_spec` says; continues the run that `out` holds, if it is
    this one.

    A run that was killed continues from its last checkpoint to the same losses, to the last bit on the CPU in
    float32 with the same number of threads. A finished run is returned as it is. `resume=False` starts over.
    `dataset` has the classes of the model, see `bench.tasks.TaskView`. `device`: CUDA where there is one by
    default. `workers`: processes that prepare batches; any number gives the same batches.

    Raises UserError if `out` holds a run of other specs or data, or another process is training there;
    NonFiniteLoss; OSError for a full disk, which leaves the last checkpoint intact.
    """
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    folder = RunFolder(out)
    description = describe(model_spec, train_spec, dataset)
    if resume:
        folder.check(description)
    fresh = not (resume and folder.checkpoint.exists())
    run = _Run(model_spec, train_spec, folder, device, hooks, fresh)  # may fail: before anything is written
    with folder.locked():
        folder.prepare(description, resume)
        run.restore()
        if run.step < train_spec.steps:
            loader = TrainLoader(
                dataset, TrainTransform(train_spec.augment), train_spec.batch, train_spec.seed, workers,
                size_divisor=run.trainer.model.size_divisor,
                targets=Targets(train_spec.task, dataset.info.things, dataset.info.ignore_index),
            )  # fmt: skip
            run.go(loader, progress)
    return TrainResult(run.trainer.model.eval(), read_log(folder.metrics), folder.seconds(), folder.path)


def describe(model_spec: Spec, train_spec: TrainSpec, dataset: SegmentationDataset) -> dict:
    """All that a run's result depends on, and the classes it knows, JSON-able; kept as `spec.json`."""
    info = dataset.info
    data = {"name": info.name, "split": dataset.split, "checksum": dataset.checksum()}
    classes = {
        "classes": list(info.classes),
        "colors": [list(color) for color in info.colors],
        "things": sorted(info.things),
        "categories": list(info.categories),
    }
    return {"model": model_spec.to_dict(), "train": train_spec.to_dict(), "dataset": data | classes}


def seed_everything(seed: int) -> None:
    """Seeds the generators of Python, numpy and torch (all devices)."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


class _Run:
    """The state of a run: a trainer, and the number of steps it has completed."""

    def __init__(
        self,
        model_spec: Spec,
        spec: TrainSpec,
        folder: RunFolder,
        device: torch.device,
        hooks: Hooks,
        fresh: bool,
    ) -> None:
        self.spec, self.folder, self.hooks = spec, folder, hooks
        seed_everything(spec.seed)
        model = model_spec.build()
        if fresh and hooks.initialise is not None:
            hooks.initialise(model)
        self.trainer = Trainer(model, spec, device)
        self.step, self.noted = 0, time.monotonic()

    def restore(self) -> None:
        """Takes up where the checkpoint stands, if there is one."""
        trainer = self.trainer
        if self.folder.checkpoint.exists():
            self.step = load_checkpoint(
                self.folder.checkpoint, trainer.model, trainer.optimizer, trainer.scaler
            )

    def go(self, loader: TrainLoader, progress: bool) -> None:
        """Trains to the end."""
        start = self.step
        self.noted = time.monotonic()
        log = StepLog(self.folder.metrics, self.step)
        self.folder.note(
            "start", step=start, device=device_name(self.trainer.device), torch=torch.__version__
        )
        bar = tqdm(
            total=self.spec.steps,
            initial=start,
            unit="step",
            disable=not progress,
            desc=self.folder.path.name,
        )
        try:
            while self.step < self.spec.steps:
                values = self._step(loader.batch(self.step))
                log.write(self.step, values)
                self.step += 1
                self._report(bar, values)
                if self.step % self.spec.checkpoint_every == 0 or self.step == self.spec.steps:
                    self._save(log)
        finally:
            loader.close()
            log.close()
            bar.close()
            self._note("stop")

    def _step(self, batch: Batch) -> dict:
        values = self.trainer.step(self.step, batch)
        done = self.step + 1
        every = self.spec.eval_every
        if self.hooks.evaluate is not None and (done == self.spec.steps or (every and done % every == 0)):
            values["evaluation"] = self.hooks.evaluate(self.trainer.model.eval())
        return values

    def _save(self, log: StepLog) -> None:
        log.sync()
        trainer = self.trainer
        save_checkpoint(self.folder.checkpoint, self.step, trainer.model, trainer.optimizer, trainer.scaler)
        self._note("checkpoint")

    def _note(self, event: str) -> None:
        """Notes the event with the time since the last one, so that a kill loses little of the total."""
        now = time.monotonic()
        self.folder.note(event, step=self.step, seconds=round(now - self.noted, 3))
        self.noted = now

    def _report(self, bar: tqdm, values: dict) -> None:
        bar.update()
        bar.set_postfix(loss=f"{values['loss']:.3f}", refresh=False)
        if self.hooks.report is not None:
            self.hooks.report(self.step, values)
