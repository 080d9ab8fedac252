"""Deformable attention from what an attention module projects: offsets and logits around reference points.

Without a gradient to be taken, on the CPU, one operator computes the weights and the locations block by block
where they are used: nothing of their size is written to memory. In all other cases they are made with PyTorch
and given to `ms_deform_attn`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from ops import backend
from ops.deformable import check, ms_deform_attn, ms_deform_attn_multiply_adds
from ops.eager import is_cpu_inference
from ops.reference import Shapes

__all__ = ["ms_deform_attn_points"]


def ms_deform_attn_points(
    value: Tensor,
    shapes: Shapes,
    references: Tensor,
    offsets: Tensor,
    logits: Tensor,
    extents: Tensor | None = None,
) -> Tensor:
    """`ms_deform_attn` at references + offsets / (width, height), weighted by the softmax of the logits.

    Deformable DETR, equation 3, with its attention weights; offsets count in pixels of the sampled level.

    Args:
        value: [B, S, M, D] floating point.
        shapes: (height, width) of the L levels.
        references: [B or 1, Q, L or 1, 2], (x, y) in [0, 1].
        offsets: [B, Q, M, L, P, 2], (x, y) in pixels.
        logits: [B, Q, M, L, P]; the softmax is over levels and points.
        extents: [L, 2], the shapes as (width, height) on the device, if the caller has them at hand.

    Returns:
        [B, Q, M * D].

    Raises:
        ValueError: tensors whose shapes or dtypes do not fit together.
    """
    check(value, shapes, offsets, logits)
    sizes = (1, offsets.shape[0]), (offsets.shape[1],), (1, len(shapes)), (2,)
    if references.ndim != 4 or any(n not in ok for n, ok in zip(references.shape, sizes, strict=True)):
        raise ValueError(
            f"ms_deform_attn_points: references {list(references.shape)} do not fit offsets "
            f"{list(offsets.shape)}: expected [B or 1, Q, L or 1, 2]"
        )
    if _fused(value, references, offsets, logits):
        flat = [size for shape in shapes for size in shape]
        return torch.ops.maskbench.ms_deform_attn_points(value, flat, references, offsets, logits)
    weights = logits.flatten(3).softmax(-1).view(logits.shape)
    return ms_deform_attn(value, shapes, _locations(shapes, references, offsets, extents), weights)


def _fused(value: Tensor, *others: Tensor) -> bool:
    """Whether one operator does it all: compiled, float32 or float64."""
    return (
        is_cpu_inference(value)
        and value.dtype in (torch.float32, torch.float64)
        and all(tensor.dtype == value.dtype for tensor in others)
        and not torch.is_autocast_enabled("cpu")
        and backend.active_backend("cpu") == "compiled"
    )


def _locations(
    shapes: Shapes, references: Tensor, offsets: Tensor, extents: Tensor | None = None
) -> Tensor:
    if extents is None:
        sizes = [(width, height) for height, width in shapes]
        extents = torch.tensor(sizes, dtype=offsets.dtype, device=offsets.device)
    return references[:, :, None, :, None, :] + offsets / extents[:, None, :]


# As the dispatcher first finds it; the compiled library's kernel stands before it once that is loaded.
@torch.library.custom_op("maskbench::ms_deform_attn_points", mutates_args=())
def _points(
    value: Tensor, shapes: Sequence[int], references: Tensor, offsets: Tensor, logits: Tensor
) -> Tensor:
    pairs = list(zip(shapes[::2], shapes[1::2], strict=True))
    weights = logits.flatten(3).softmax(-1).view(logits.shape)
    return ms_deform_attn(value, pairs, _locations(pairs, references, offsets), weights)


@_points.register_fake
def _points_fake(
    value: Tensor, shapes: Sequence[int], references: Tensor, offsets: Tensor, logits: Tensor
) -> Tensor:
    batch, queries, heads = offsets.shape[:3]
    return value.new_empty(batch, queries, heads * value.shape[3])


@register_flop_formula(torch.ops.maskbench.ms_deform_attn_points)
def _points_flops(value: Any, shapes: Any, references: Any, offsets: Any, *_: Any, **__: Any) -> int:
    return 2 * ms_deform_attn_multiply_adds(offsets, value[3])
