"""Batch norms whose statistics are those of the batch of all processes."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


class _Sum(torch.autograd.Function):
    """The sum over the processes, whose gradient is the sum of their gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _Sum.forward(ctx, gradient.contiguous())


class GlooBatchNorm2d(nn.BatchNorm2d):
    """`nn.SyncBatchNorm` for the CPU, which PyTorch's refuses. Every process has as many pixels."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        x, shape = input.float(), (1, -1, 1, 1)
        processes = dist.get_world_size()
        count = processes * x.numel() // x.shape[1]
        mean = _Sum.apply(x.mean((0, 2, 3))) / processes
        centred = x - mean.view(shape)
        variance = _Sum.apply(centred.square().mean((0, 2, 3))) / processes
        if self.track_running_stats:
            with torch.no_grad():
                self.num_batches_tracked.add_(1)
                share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
                self.running_mean.lerp_(mean, share)
                self.running_var.lerp_(variance * (count / max(count - 1, 1)), share)
        return _scaled(centred, variance, self.weight, self.bias, self.eps).to(input.dtype)


def _scaled(centred: Tensor, variance: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """Centred [B, C, H, W] brought to variance 1, then scaled and shifted by weight and bias [C]."""
    scale = (variance + eps).rsqrt() * weight
    return centred * scale.view(1, -1, 1, 1) + bias.view(1, -1, 1, 1)


def synchronise(model: nn.Module, device: torch.device) -> None:
    """Replaces every batch norm of `model` that computes statistics while it trains. Parameters, buffers and
    names stay; norms that are fixed, by a class of their own, too."""
    kind = nn.SyncBatchNorm if device.type == "cuda" else GlooBatchNorm2d
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.BatchNorm2d:
                made = kind(child.num_features, child.eps, child.momentum, True, child.track_running_stats)
                made.weight, made.bias = child.weight, child.bias
                made.running_mean, made.running_var = child.running_mean, child.running_var
                made.num_batches_tracked = child.num_batches_tracked
                setattr(parent, name, made.train(child.training))
