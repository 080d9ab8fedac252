"""A training run in a folder: started, killed, continued, finished."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm

from bench.data.base import SegmentationDataset
from bench.data.loader import Batch, TrainLoader
from bench.data.targets import Targets
from bench.data.transforms import TrainTransform
from bench.errors import UserError
from bench.train.checkpoint import load_checkpoint, save_checkpoint
from bench.train.distributed import ALONE, World
from bench.train.folder import RunFolder, device_name
from bench.train.log import StepLog, read_log
from bench.train.signals import Stopped
from bench.train.spec import TrainSpec
from bench.train.trainer import Trainer, seed_everything
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
        stop: asked between two steps; a number that is not 0, of a signal, ends the run with a checkpoint.

    With several processes, all but `stop` are called in the first one alone.
    """

    initialise: Callable[[nn.Module], object] | None = None
    evaluate: Callable[[nn.Module], dict] | None = None
    report: Callable[[int, dict], None] | None = None
    stop: Callable[[], int] | None = None


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
    world: World = ALONE,
) -> TrainResult:
    """Trains `model_spec` on `dataset` as `train_spec` says; continues the run that `out` holds, if it is
    this one.

    A run that was killed continues from its last checkpoint to the same losses, to the last bit on the CPU in
    float32 with the same number of threads. A finished run is returned as it is. `resume=False` starts over.
    `dataset` has the classes of the model, see `bench.tasks.TaskView`. `device`: CUDA where there is one by
    default. `workers`: processes that prepare batches; any number gives the same batches. `world`: the
    processes that share every batch, see `bench.train.distributed`; the first one writes `out`, all read it.

    Raises UserError if `out` holds a run of other specs or data, another process is training there, or the
    batch cannot be shared; NonFiniteLoss; Stopped where `hooks.stop` said so; OSError for a full disk, which
    leaves the last checkpoint intact.
    """
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    folder, share = RunFolder(out), share_of(train_spec, world)
    # What may fail comes before anything is written.
    description = world.decide(lambda: _begin(folder, describe(model_spec, train_spec, dataset), resume))
    fresh = world.decide(lambda: not (resume and folder.checkpoint.exists()))
    run = _Run(model_spec, train_spec, folder, device, hooks, fresh, world)
    with ExitStack() as lock:
        world.decide(lambda: lock.enter_context(folder.locked()))
        world.decide(lambda: folder.prepare(description, resume))
        run.restore(resume)
        if run.step < train_spec.steps:
            loader = TrainLoader(
                dataset, TrainTransform(train_spec.augment), share, train_spec.seed, workers,
                rank=world.rank, world=world.size, size_divisor=run.trainer.model.size_divisor,
                targets=Targets(train_spec.task, dataset.info.things, dataset.info.ignore_index),
            )  # fmt: skip
            run.go(loader, progress and world.first)
        world.wait()
    return TrainResult(run.trainer.model.eval(), read_log(folder.metrics), folder.seconds(), folder.path)


def share_of(spec: TrainSpec, world: World) -> int:
    """Images of a batch that each process gets. Raises UserError if they cannot all get as many."""
    if spec.batch % (world.size * spec.accumulate):
        parts = f"{world.size} processes x accumulate = {spec.accumulate}"
        raise UserError(f"batch = {spec.batch} cannot be divided by {parts}")
    return spec.batch // world.size


def _begin(folder: RunFolder, description: dict, resume: bool) -> dict:
    if resume:
        folder.check(description)
    return description


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
        world: World,
    ) -> None:
        self.spec, self.folder, self.hooks, self.world = spec, folder, hooks, world
        seed_everything(spec.seed)
        model = model_spec.build()
        if fresh and hooks.initialise is not None and world.first:  # the trainer hands the weights round
            hooks.initialise(model)
        self.trainer = Trainer(model, spec, device, world)
        self.step, self.saved, self.noted = 0, 0, time.monotonic()

    def restore(self, resume: bool) -> None:
        """Takes up where the checkpoint stands, if there is one. Raises UserError if the processes do not
        find the same one."""
        trainer, checkpoint = self.trainer, self.folder.checkpoint
        if resume and checkpoint.exists():
            self.step = load_checkpoint(checkpoint, trainer.model, trainer.optimizer, trainer.scaler)
        steps = {row[0] for row in self.world.gather([self.step])}
        if len(steps) > 1:
            raise UserError(f"{self.folder.path} is not the same folder for all processes; use a shared disk")
        self.saved = self.step

    def go(self, loader: TrainLoader, progress: bool) -> None:
        """Trains to the end."""
        self.noted = time.monotonic()
        log = StepLog(self.folder.metrics, self.step) if self.world.first else None
        self._note_start()
        bar = tqdm(
            total=self.spec.steps,
            initial=self.step,
            unit="step",
            disable=not progress,
            desc=self.folder.path.name,
        )
        try:
            while self.step < self.spec.steps:
                self._stop_if_asked(log)
                values = self._step(loader.batch(self.step))
                if log is not None:
                    log.write(self.step, values)
                self.step += 1
                self._report(bar, values)
                if self.step % self.spec.checkpoint_every == 0 or self.step == self.spec.steps:
                    self._save(log)
        finally:
            loader.close()
            if log is not None:
                log.close()
            bar.close()
            self._note("stop")

    def _step(self, batch: Batch) -> dict:
        values = self.trainer.step(self.step, batch)
        done = self.step + 1
        every = self.spec.eval_every
        if self.hooks.evaluate is not None and (done == self.spec.steps or (every and done % every == 0)):
            if self.world.first:
                values["evaluation"] = self.hooks.evaluate(self.trainer.model.eval())
            self.world.wait()
        return values

    def _stop_if_asked(self, log: StepLog | None) -> None:
        """Ends the run between two steps, the same two in every process, whichever was asked."""
        if number := self.world.most(self.hooks.stop() if self.hooks.stop else 0):
            if self.step > self.saved:
                self._save(log)
            raise Stopped(number, self.step)

    def _save(self, log: StepLog | None) -> None:
        self.saved = self.step
        if log is None:
            return
        log.sync()
        trainer = self.trainer
        save_checkpoint(self.folder.checkpoint, self.step, trainer.model, trainer.optimizer, trainer.scaler)
        self._note("checkpoint")

    def _note_start(self) -> None:
        if self.world.first:
            values = {"device": device_name(self.trainer.device), "torch": torch.__version__}
            self.folder.note("start", step=self.step, processes=self.world.size, **values)

    def _note(self, event: str) -> None:
        """Notes the event with the time since the last one, so that a kill loses little of the total."""
        if self.world.first:
            now = time.monotonic()
            self.folder.note(event, step=self.step, seconds=round(now - self.noted, 3))
            self.noted = now

    def _report(self, bar: tqdm, values: dict) -> None:
        bar.update()
        bar.set_postfix(loss=f"{values['loss']:.3f}", refresh=False)
        if self.hooks.report is not None and self.world.first:
            self.hooks.report(self.step, values)
