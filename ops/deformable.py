"""Multi-scale deformable attention as one operator, `torch.ops.maskbench.ms_deform_attn`.

One operator means: one entry in a profile, one node in an exported graph, one line in a FLOP count, an
explicit gradient, and one place where a compiled kernel takes over from the reference. Level shapes travel as
integers (height and width of each level in turn), never as a tensor, so nothing waits for a device.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from ops import backend
from ops.reference import Shapes, ms_deform_attn_backward_reference, ms_deform_attn_reference

__all__ = ["ms_deform_attn", "ms_deform_attn_multiply_adds", "ms_deform_attn_reference"]


def ms_deform_attn(value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
    """Multi-scale deformable attention; arguments and result as in `ms_deform_attn_reference`.

    Under autocast it computes in float32, as the authors' code does. It has first derivatives only.

    Args:
        value: [B, S, M, D] floating point.
        shapes: (height, width) of the L levels.
        locations: [B, Q, M, L, P, 2] in [0, 1], (x, y).
        weights: [B, Q, M, L, P].

    Returns:
        [B, Q, M * D].

    Raises:
        ValueError: tensors whose shapes or dtypes do not fit together.
    """
    check(value, shapes, locations, weights)
    flat = [size for shape in shapes for size in shape]
    return torch.ops.maskbench.ms_deform_attn(value, flat, locations, weights)


def ms_deform_attn_multiply_adds(locations_shape: Sequence[int], channels: int) -> int:
    """Multiply-adds of one forward: 5 for each sampled channel, B * Q * M * L * P * D of them.

    Four are the bilinear reading (four neighbours and their coefficients), the fifth the weighted sum.
    Coefficients are per point, not per channel, and are not counted.

    Args:
        locations_shape: (B, Q, M, L, P, 2).
        channels: D, channels of one head.
    """
    samples = 1
    for size in locations_shape[:-1]:
        samples *= int(size)
    return 5 * samples * channels


# Below are the operators as the dispatcher first finds them. On the CPU, the first call loads the compiled
# library, whose kernels then stand before these: calling the operator again reaches them.


@torch.library.custom_op("maskbench::ms_deform_attn", mutates_args=())
def _forward(value: Tensor, shapes: Sequence[int], locations: Tensor, weights: Tensor) -> Tensor:
    if backend.active_backend(value.device.type) == "compiled":
        return torch.ops.maskbench.ms_deform_attn(value, shapes, locations, weights)
    return ms_deform_attn_reference(value, _pairs(shapes), locations, weights).contiguous()


@torch.library.custom_op("maskbench::ms_deform_attn_backward", mutates_args=())
def _backward(
    grad: Tensor, value: Tensor, shapes: Sequence[int], locations: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    if backend.active_backend(value.device.type) == "compiled":
        return torch.ops.maskbench.ms_deform_attn_backward(grad, value, shapes, locations, weights)
    return ms_deform_attn_backward_reference(grad, value, _pairs(shapes), locations, weights)


@_forward.register_kernel("cuda")
def _forward_cuda(value: Tensor, shapes: Sequence[int], locations: Tensor, weights: Tensor) -> Tensor:
    if backend.active_backend("cuda") == "compiled":
        from ops import triton_deformable  # Triton is not everywhere

        return triton_deformable.forward(value, _pairs(shapes), locations, weights)
    return ms_deform_attn_reference(value, _pairs(shapes), locations, weights).contiguous()


@_backward.register_kernel("cuda")
def _backward_cuda(
    grad: Tensor, value: Tensor, shapes: Sequence[int], locations: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    if backend.active_backend("cuda") == "compiled":
        from ops import triton_deformable

        return triton_deformable.backward(grad, value, _pairs(shapes), locations, weights)
    return ms_deform_attn_backward_reference(grad, value, _pairs(shapes), locations, weights)


@_forward.register_fake
def _forward_fake(value: Tensor, shapes: Sequence[int], locations: Tensor, weights: Tensor) -> Tensor:
    batch, queries, heads = locations.shape[:3]
    return value.new_empty(batch, queries, heads * value.shape[3])


@_backward.register_fake
def _backward_fake(
    grad: Tensor, value: Tensor, shapes: Sequence[int], locations: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    return (
        value.new_empty(value.shape),
        locations.new_empty(locations.shape),
        weights.new_empty(weights.shape),
    )


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    value, ctx.shapes, locations, weights = inputs
    ctx.save_for_backward(value, locations, weights)


def _gradient(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    value, locations, weights = ctx.saved_tensors
    grads = torch.ops.maskbench.ms_deform_attn_backward(grad, value, ctx.shapes, locations, weights)
    return grads[0], None, grads[1], grads[2]


_forward.register_autograd(_gradient, setup_context=_setup_context)
for _device in ("cpu", "cuda"):
    torch.library.register_autocast("maskbench::ms_deform_attn", _device, torch.float32)


# FlopCounterMode speaks of FLOPs and counts two per multiply-add, hence the factor 2 in both formulas.
@register_flop_formula(torch.ops.maskbench.ms_deform_attn)
def _forward_flops(value: Any, shapes: Any, locations: Any, weights: Any, *_: Any, **__: Any) -> int:
    return 2 * ms_deform_attn_multiply_adds(locations, value[3])


@register_flop_formula(torch.ops.maskbench.ms_deform_attn_backward)
def _backward_flops(
    grad: Any, value: Any, shapes: Any, locations: Any, weights: Any, *_: Any, **__: Any
) -> int:
    """Three forwards: reading the samples again and their dot with the gradient (4 + 1 multiply-adds a
    channel), scattering to four neighbours (4), and two spatial derivatives with their dots (2 x 3)."""
    return 3 * 2 * ms_deform_attn_multiply_adds(locations, value[3])


def _pairs(flat: Sequence[int]) -> list[tuple[int, int]]:
    return list(zip(flat[::2], flat[1::2], strict=True))


def check(value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor) -> None:
    """Raises ValueError where shapes or dtypes do not fit together; arguments as of `ms_deform_attn`."""
    if value.ndim != 4 or locations.ndim != 6 or weights.ndim != 5:
        raise ValueError(
            "ms_deform_attn: expected value [B, S, M, D], locations [B, Q, M, L, P, 2], weights "
            f"[B, Q, M, L, P]; got {list(value.shape)}, {list(locations.shape)}, {list(weights.shape)}"
        )
    batch, tokens, heads, _ = value.shape
    if locations.shape[0] != batch or locations.shape[2] != heads or locations.shape[5] != 2:
        raise ValueError(
            f"ms_deform_attn: locations {list(locations.shape)} do not fit value {list(value.shape)}"
        )
    if weights.shape != locations.shape[:5]:
        raise ValueError(
            f"ms_deform_attn: weights {list(weights.shape)} do not fit locations {list(locations.shape)}"
        )
    if locations.shape[3] != len(shapes):
        raise ValueError(f"ms_deform_attn: {locations.shape[3]} levels of locations for {len(shapes)} shapes")
    if sum(height * width for height, width in shapes) != tokens:
        raise ValueError(f"ms_deform_attn: shapes {list(shapes)} do not add up to {tokens} values")
    if not value.dtype == locations.dtype == weights.dtype and not _autocast(value):
        raise ValueError(f"ms_deform_attn: dtypes differ: {value.dtype}, {locations.dtype}, {weights.dtype}")


def _autocast(tensor: Tensor) -> bool:
    return torch.is_autocast_enabled(tensor.device.type)
