"""The one step that all training consists of, for every system."""

import inspect
import math
import random
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from bench.data.loader import Batch
from bench.data.randomness import mix
from bench.train.batchnorm import synchronise
from bench.train.distributed import ALONE, World
from bench.train.optimizer import build_optimizer, set_learning_rate
from bench.train.precision import NonFiniteLoss, amp_dtype, require_finite
from bench.train.recompute import recompute_blocks
from bench.train.spec import TrainSpec
from bench.train.whole_batch import agree
from models.losses import NonFiniteError
from models.outputs import MaskTarget
from models.points import ImagePoints

_CHANCE, _POINTS = 3, 4  # independent uses of the seed; the loader has the first two


class Trainer:
    """A model with its criterion and optimizer, and the one step that all training consists of.

    `model.spec.loss.build(model.spec.num_classes)` makes the criterion. It is called with output, targets
    and `normaliser`: what `criterion.normaliser(targets, device, output)` gives for the targets of the whole
    batch, divided by the number of parts that the batch is computed in, over all processes. The criterion and
    the model's modules that have an attribute `progress` are told the share of the run that is done, 0 to 1,
    before every step; those of the criterion that have a `sampler` get one whose points are each image's own.
    A model whose `forward` takes `sizes` is told the sizes of the images in a padded batch.

    A step depends on the weights, the optimizer's state, the step's number and the batch alone: it seeds the
    generators of Python, numpy and torch. With more processes than one, `world` says which this is, and every
    step is taken by all of them; the batch is then this one's share, as large as the others'.
    """

    def __init__(
        self,
        model: nn.Module,
        spec: TrainSpec,
        device: torch.device | str = "cpu",
        world: World = ALONE,
    ) -> None:
        self.device, self.spec, self.world = torch.device(device), spec, world
        self.model = model.to(self.device)
        self.criterion = model.spec.loss.build(model.spec.num_classes).to(self.device)
        if world.size > 1:
            synchronise(self.model, self.device)
        if spec.checkpointing:
            recompute_blocks(self.model)
        self.timed = [part for part in (self.criterion, *model.modules()) if hasattr(part, "progress")]
        self.points = ImagePoints()
        for part in self.criterion.modules():
            if hasattr(part, "sampler"):
                part.sampler = self.points
        self.optimizer = build_optimizer(model, spec)
        self.dtype = amp_dtype(spec.amp, self.device)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.dtype == torch.float16)
        self.losses: nn.Module = Losses(self.model, self.criterion, self.dtype)
        if world.size > 1:
            self.losses = _shared(self.losses)

    def step(self, number: int, batch: Batch) -> dict[str, float | None]:
        """Trains on one batch and returns the losses of the final prediction, their weighted `loss` over all
        predictions, the gradient's L2 norm before clipping (None where float16 overflowed, which skips the
        step and lowers the loss scale), and the learning rate; the same in every process.

        Raises NonFiniteLoss naming the prediction, loss or gradient that left the finite numbers; the weights
        are then as they were before the step.
        """
        self.model.train()
        multiplier = self.spec.schedule.multiplier(number, self.spec.steps)
        set_learning_rate(self.optimizer, multiplier)
        for part in self.timed:
            part.progress = number / self.spec.steps
        self.optimizer.zero_grad(set_to_none=True)
        seed_everything(mix(_CHANCE, self.spec.seed, number, self.world.rank))
        batch, everyone = agree(batch, self.world)
        parts, first = split(batch, self.spec.accumulate), self.world.rank * len(batch.images)
        points = mix(_POINTS, self.spec.seed, number)
        totals: dict[str, Tensor] = {}
        for i, part in enumerate(parts):
            size = len(part.images)
            places = range(first + i * size, first + (i + 1) * size)
            self.points.start([mix(points, place) for place in places])
            with self._kept_to_itself(i < len(parts) - 1):
                found = self._backward(number, part, everyone, len(parts))
            for name, value in found.items():
                totals[name] = totals.get(name, 0) + value
        norm = self._update(number)
        shared = self.world.mean(torch.stack(list(totals.values())))
        *losses, norm_value = torch.cat([shared, norm[None]]).double().tolist()
        return {
            **dict(zip(totals, losses, strict=True)),
            "gradient_norm": norm_value if math.isfinite(norm_value) else None,
            "lr": self.spec.lr * multiplier,
        }

    def _backward(
        self, number: int, part: Batch, everyone: Sequence[MaskTarget], parts: int
    ) -> dict[str, Tensor]:
        """Adds the gradients of one part of the batch; returns its share of the losses."""
        images, targets, sizes = to_device(part, self.device)
        try:
            losses = self.losses(images, targets, sizes, everyone, 1 / (parts * self.world.size))
        except NonFiniteError as error:
            raise NonFiniteLoss(f"step {number}: {error}") from error
        require_finite({f"loss {name!r}": value for name, value in losses.items()}, number)
        total = self.criterion.total(losses) / parts
        self.scaler.scale(total).backward()
        shown = {name: value.detach() / parts for name, value in losses.items() if "/" not in name}
        return {"loss": total.detach(), **shown}

    def _kept_to_itself(self, alone: bool) -> AbstractContextManager:
        """Within, gradients are not yet sent to the other processes."""
        return self.losses.no_sync() if alone and self.world.size > 1 else nullcontext()

    def _update(self, number: int) -> Tensor:
        """Clips the gradient of the whole model and takes the optimizer's step; returns the norm before
        clipping."""
        self.scaler.unscale_(self.optimizer)
        trained = {name: p for name, p in self.model.named_parameters() if p.grad is not None}
        norm = nn.utils.get_total_norm(p.grad for p in trained.values())
        if not self.scaler.is_enabled() and not torch.isfinite(
            norm
        ):  # a loss scale too large is the scaler's to lower
            require_finite({f"gradient of {name}": p.grad for name, p in trained.items()}, number)
        if self.spec.clip is not None:
            nn.utils.clip_grads_with_norm_(trained.values(), self.spec.clip, norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return norm


class Losses(nn.Module):
    """A model and its criterion as one function of a batch: what is run, and looked after, by all processes
    together. The model of some systems goes on inside the criterion."""

    def __init__(self, model: nn.Module, criterion: nn.Module, dtype: torch.dtype | None) -> None:
        super().__init__()
        self.model, self.criterion, self.dtype = model, criterion, dtype
        self.takes_sizes = "sizes" in inspect.signature(model.forward).parameters

    def forward(
        self,
        images: Tensor,
        targets: list[MaskTarget],
        sizes: list[tuple[int, int]] | None,
        everyone: Sequence[MaskTarget],
        share: float,
    ) -> dict[str, Tensor]:
        """The criterion's losses of images [B, 3, H, W], a `share` of a batch of which `everyone` are the
        targets."""
        with self._autocast(images.device):
            output = self.model(images, sizes) if self.takes_sizes else self.model(images)
        counts = self.criterion.normaliser(everyone, "cpu", output)
        normaliser = {name: count * share for name, count in counts.items()}
        return self.criterion(output, targets, normaliser=normaliser)

    def _autocast(self, device: torch.device) -> AbstractContextManager:
        return torch.autocast(device.type, self.dtype) if self.dtype else nullcontext()


def _shared(losses: nn.Module) -> DistributedDataParallel:
    """Gradients are averaged over the processes. Parameters without one are looked for in every step, as a
    loss may end before the run does."""
    return DistributedDataParallel(losses, find_unused_parameters=True, gradient_as_bucket_view=True)


def seed_everything(seed: int) -> None:
    """Seeds the generators of Python, numpy and torch (all devices)."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def split(batch: Batch, parts: int) -> list[Batch]:
    """Equal consecutive parts of a batch; `parts` divides its size."""
    size = len(batch.images) // parts
    places = [slice(at, at + size) for at in range(0, size * parts, size)]
    return [Batch(*(None if field is None else field[at] for field in batch)) for at in places]


def to_device(batch: Batch, device: torch.device) -> Batch:
    """The batch on `device`."""
    images = batch.images.to(device, non_blocking=True)
    return Batch(images, [target.to(device, non_blocking=True) for target in batch.targets], batch.sizes)
