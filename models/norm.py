"""Normalisation layers of convolutional backbones, chosen by name."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Norm = Literal["frozen", "eval", "batch", "group"]
"""frozen: fixed statistics and affine terms; eval: the same, a BatchNorm whose affine terms are
parameters that do not train; batch: trainable BatchNorm; group: GroupNorm (small batches)."""


class FrozenBatchNorm2d(nn.Module):
    """BatchNorm with fixed statistics and affine terms; all four are buffers, so none counts as a parameter.

    As in detectron2 (released Mask2Former and FASeg, ResNets on ADE20K and COCO). Without pretrained weights
    it is the identity.
    """

    def __init__(
        self,
        channels: int,
        eps: float = 1e-5,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.channels, self.eps = channels, eps
        ones = torch.ones(channels, device=device, dtype=dtype)
        self.register_buffer("weight", ones.clone())
        self.register_buffer("bias", torch.zeros_like(ones))
        self.register_buffer("running_mean", torch.zeros_like(ones))
        self.register_buffer("running_var", ones - eps)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, H, W]."""
        if self.training and x.requires_grad:
            # A product and a sum keep nothing for the backward pass; F.batch_norm would keep x.
            scale = self.weight * (self.running_var + self.eps).rsqrt()
            shift = self.bias - self.running_mean * scale
            return x * scale.to(x.dtype)[:, None, None] + shift.to(x.dtype)[:, None, None]
        # The operator that FLOP counters know as batch normalisation.
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)

    def extra_repr(self) -> str:
        return f"{self.channels}, eps={self.eps}"


class EvalBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm in evaluation mode whatever the model's mode, without gradients for its affine terms.

    As in mmdetection (`norm_eval=True`, `requires_grad=False`); released files hold all its entries.
    """

    def __init__(
        self,
        channels: int,
        eps: float = 1e-5,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(channels, eps=eps, device=device, dtype=dtype)
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> EvalBatchNorm2d:
        return super().train(False)


def norm_layer(kind: Norm) -> Callable[..., nn.Module]:
    """The constructor `layer(channels, device=None, dtype=None)` of a kind of normalisation.

    Raises:
        ValueError: unknown kind.
    """
    layers = {
        "frozen": FrozenBatchNorm2d,
        "eval": EvalBatchNorm2d,
        "batch": nn.BatchNorm2d,
        "group": _group_norm,
    }
    if kind not in layers:
        raise ValueError(f"unknown norm {kind!r}: one of {', '.join(layers)}")
    return layers[kind]


def _group_norm(channels: int, **factory: object) -> nn.GroupNorm:
    """32 groups, or fewer if 32 does not divide the channels."""
    return nn.GroupNorm(math.gcd(32, channels), channels, **factory)  # type: ignore[arg-type]
