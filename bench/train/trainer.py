"""The one step that all training consists of, for every system."""

import inspect
import math
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

from bench.data.loader import Batch
from bench.train.optimizer import build_optimizer, set_learning_rate
from bench.train.precision import NonFiniteLoss, amp_dtype, require_finite
from bench.train.spec import TrainSpec
from models.losses import NonFiniteError


class Trainer:
    """A model with its criterion and optimizer, and the one step that all training consists of.

    `model.spec.loss.build(model.spec.num_classes)` makes the criterion. It is called with output, targets
    and `normaliser`: what `criterion.normaliser(targets, device)` gives for the whole batch, divided by the
    number of parts that the batch is computed in. The criterion and the model's modules that have an
    attribute `progress` are told the share of the run that is done, 0 to 1, before every step. A model whose
    `forward` takes `sizes` is told the sizes of the images in a padded batch.
    """

    def __init__(self, model: nn.Module, spec: TrainSpec, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self.spec = spec
        self.model = model.to(self.device)
        self.takes_sizes = "sizes" in inspect.signature(model.forward).parameters
        self.criterion = model.spec.loss.build(model.spec.num_classes).to(self.device)
        self.timed = [part for part in (self.criterion, *model.modules()) if hasattr(part, "progress")]
        self.optimizer = build_optimizer(model, spec)
        self.dtype = amp_dtype(spec.amp, self.device)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.dtype == torch.float16)

    def step(self, number: int, batch: Batch) -> dict[str, float | None]:
        """Trains on one batch and returns the losses of the final prediction, their weighted `loss` over all
        predictions, the gradient's L2 norm before clipping (None where float16 overflowed, which skips the
        step and lowers the loss scale), and the learning rate.

        Raises NonFiniteLoss naming the prediction, loss or gradient that left the finite numbers; the weights
        are then as they were before the step.
        """
        self.model.train()
        multiplier = self.spec.schedule.multiplier(number, self.spec.steps)
        set_learning_rate(self.optimizer, multiplier)
        for part in self.timed:
            part.progress = number / self.spec.steps
        self.optimizer.zero_grad(set_to_none=True)
        parts = split(batch, self.spec.accumulate)
        counts = self.criterion.normaliser(batch.targets, self.device)
        normaliser = {name: count / len(parts) for name, count in counts.items()}
        totals: dict[str, torch.Tensor] = {}
        for part in parts:
            for name, value in self._backward(number, part, normaliser, len(parts)).items():
                totals[name] = totals.get(name, 0) + value
        norm = self._update(number)
        *losses, norm_value = torch.stack([*totals.values(), norm]).double().tolist()
        return {
            **dict(zip(totals, losses, strict=True)),
            "gradient_norm": norm_value if math.isfinite(norm_value) else None,
            "lr": self.spec.lr * multiplier,
        }

    def _backward(
        self, number: int, part: Batch, normaliser: dict[str, float], parts: int
    ) -> dict[str, torch.Tensor]:
        """Adds the gradients of one part of the batch; returns its share of the losses."""
        images, targets, sizes = to_device(part, self.device)
        with self._autocast():
            output = self.model(images, sizes) if self.takes_sizes else self.model(images)
        try:
            losses = self.criterion(output, targets, normaliser=normaliser)
        except NonFiniteError as error:
            raise NonFiniteLoss(f"step {number}: {error}") from error
        require_finite({f"loss {name!r}": value for name, value in losses.items()}, number)
        total = self.criterion.total(losses) / parts
        self.scaler.scale(total).backward()
        shown = {name: value.detach() / parts for name, value in losses.items() if "/" not in name}
        return {"loss": total.detach(), **shown}

    def _update(self, number: int) -> torch.Tensor:
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

    def _autocast(self) -> AbstractContextManager:
        return torch.autocast(self.device.type, self.dtype) if self.dtype else nullcontext()


def split(batch: Batch, parts: int) -> list[Batch]:
    """Equal consecutive parts of a batch; `parts` divides its size."""
    size = len(batch.images) // parts
    places = [slice(at, at + size) for at in range(0, size * parts, size)]
    return [Batch(*(None if field is None else field[at] for field in batch)) for at in places]


def to_device(batch: Batch, device: torch.device) -> Batch:
    """The batch on `device`."""
    images = batch.images.to(device, non_blocking=True)
    return Batch(images, [target.to(device, non_blocking=True) for target in batch.targets], batch.sizes)
