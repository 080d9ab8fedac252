"""Launches the Triton kernels of `ops.triton_kernels`; shapes and meaning as in `ops.reference`."""

from __future__ import annotations

from functools import lru_cache

import torch
import triton
import triton.language as tl
from torch import Tensor

from ops.reference import Shapes
from ops.triton_kernels import backward_kernel, forward_kernel

_TILE = 1024  # values that one program holds at a time
_BITS = 61  # of 63, for a sum in fixed point
_SMALLEST = 2.0**-900  # keeps the unit of fixed point finite where all gradients are zero


def forward(value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
    """As `ops.reference.ms_deform_attn_reference`: [B, Q, M * D], in the type of `value`."""
    batch, queries, heads = locations.shape[:3]
    output = value.new_zeros(batch, queries, heads * value.shape[3])
    if output.numel() and weights.numel() and value.numel():
        value, locations, weights = value.contiguous(), locations.contiguous(), weights.contiguous()
        levels = _levels(tuple(map(tuple, shapes)), value.device)
        grid, constants = _launch(value, locations)
        forward_kernel[grid](value, levels, locations, weights, output, value.shape[1], queries, **constants)
    return output


def backward(
    grad: Tensor, value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """As `ops.reference.ms_deform_attn_backward_reference`.

    The values' gradient is a sum of atomic additions, in floating point and hence in any order, unless
    `torch.use_deterministic_algorithms(True)` asks for the same bits each time. Then it is summed in 64-bit
    fixed point whose unit is 2^-61 of the largest sum that these inputs could give, at the price of speed;
    gradients that are not finite make all of it NaN.
    """
    fixed = torch.are_deterministic_algorithms_enabled()
    precise = torch.float64 if value.dtype == torch.float64 else torch.float32
    total = torch.zeros(value.shape, dtype=torch.int64 if fixed else precise, device=value.device)
    grad_locations = torch.zeros(locations.shape, dtype=locations.dtype, device=value.device)
    grad_weights = torch.zeros(weights.shape, dtype=weights.dtype, device=value.device)
    if not (grad.numel() and weights.numel() and value.numel()):
        return total.to(value.dtype), grad_locations, grad_weights
    tensors = [tensor.contiguous() for tensor in (grad, value, locations, weights)]
    levels = _levels(tuple(map(tuple, shapes)), value.device)
    scale = _scale(grad, weights) if fixed else torch.ones(1, dtype=torch.float64, device=value.device)
    grid, constants = _launch(value, locations)
    backward_kernel[grid](
        *tensors[:2], levels, *tensors[2:], total, grad_locations, grad_weights, scale,
        value.shape[1], locations.shape[1], **constants, FIXED=fixed,
    )  # fmt: skip
    return (total / scale if fixed else total).to(value.dtype), grad_locations, grad_weights


def _scale(grad: Tensor, weights: Tensor) -> Tensor:
    """Whole numbers per 1, float64 [1], a power of two. Each point adds at most once to a value."""
    points = weights.shape[1] * weights.shape[4]
    largest = grad.abs().amax().double() * weights.abs().amax().double() * points
    return torch.exp2((_BITS - largest.clamp(min=_SMALLEST).log2()).floor()).view(1)


def _launch(value: Tensor, locations: Tensor) -> tuple[tuple[int, int], dict[str, object]]:
    """The grid (blocks of queries, heads of images) and the constants of both kernels."""
    batch, queries, heads, levels, points, _ = locations.shape
    pixels, channels = value.shape[1], value.shape[3]
    if pixels * heads * channels >= 2**31:
        raise ValueError(f"ms_deform_attn: {pixels} x {heads} x {channels} values in one image are too many")
    width = triton.next_power_of_2(channels)
    block = max(1, _TILE // width)
    constants = {
        "HEADS": heads, "CHANNELS": channels, "LEVELS": levels, "POINTS": points,
        "BLOCK": block, "WIDTH": width,
        "SUM": tl.float64 if value.dtype == torch.float64 else tl.float32,
    }  # fmt: skip
    return (triton.cdiv(queries, block), batch * heads), constants


@lru_cache(maxsize=256)
def _levels(shapes: tuple[tuple[int, int], ...], device: torch.device) -> Tensor:
    """[L, 3]: height, width, first pixel. Kept: only the first call with these shapes copies to a device."""
    rows, start = [], 0
    for height, width in shapes:
        rows.append((height, width, start))
        start += height * width
    return torch.tensor(rows, dtype=torch.int32, device=device)
