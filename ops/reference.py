"""Multi-scale deformable attention in plain PyTorch: the forward as one reads it in the paper, and its
gradient.

Source: Deformable DETR (Zhu et al., 2021), section 4.1, equation 3, without the projections around it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

Shapes = Sequence[tuple[int, int]]

_BILINEAR, _ZEROS = 0, 0  # ATen's codes for interpolation and padding
_OUTSIDE = 9.0  # in the sampler's range [-1, 1]


def ms_deform_attn_reference(value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
    """Weighted sum of values sampled around each query, in all levels of a feature pyramid.

    A sample is read bilinearly, pixel centres lie at (i + 0.5) / size, and what is outside counts as zero. So
    does a point whose location is not finite, as in the authors' kernel.

    Args:
        value: [B, S, M, D], the levels' pixels in row-major order, one level after the other, for M heads.
        shapes: (height, width) of the L levels; S is the sum of their areas.
        locations: [B, Q, M, L, P, 2], sampling points as (x, y), where [0, 1] spans the level.
        weights: [B, Q, M, L, P], usually a softmax over the last two axes.

    Returns:
        [B, Q, M * D], the heads side by side.
    """
    batch, queries, heads, _, points, _ = locations.shape
    channels = value.shape[3]
    output = value.new_zeros(batch * heads, channels, queries)
    for level, (image, grid) in enumerate(_levels(value, shapes, locations)):
        if image.numel() == 0 or grid.numel() == 0:
            continue
        sampled = F.grid_sample(image, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        level_weights = weights[:, :, :, level].transpose(1, 2).reshape(batch * heads, 1, queries, points)
        output = output + (sampled * level_weights).sum(-1)
    return output.view(batch, heads * channels, queries).transpose(1, 2)


def ms_deform_attn_backward_reference(
    grad: Tensor, value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of `ms_deform_attn_reference`; shapes as there, `grad` is [B, Q, M * D].

    The sampled values are read again (they are needed for the weights' gradient and are larger than all
    inputs together), the rest comes from one pass of the bilinear sampler's own gradient per level.

    Returns:
        Gradients of value, locations and weights, contiguous, in the shapes of these.
    """
    batch, queries, heads, _, points, _ = locations.shape
    channels = value.shape[3]
    grad_value, grad_locations, grad_weights = map(_zeros, (value, locations, weights))
    grad = grad.reshape(batch, queries, heads, channels).permute(0, 2, 3, 1)
    grad = grad.reshape(batch * heads, channels, queries, 1)
    start = 0
    for level, (image, grid) in enumerate(_levels(value, shapes, locations)):
        area = image.shape[2] * image.shape[3]
        if image.numel() and grid.numel():
            sampled = F.grid_sample(image, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
            by_head = (sampled * grad).sum(1).view(batch, heads, queries, points)
            grad_weights[:, :, :, level] = by_head.transpose(1, 2)
            level_weights = weights[:, :, :, level].transpose(1, 2).reshape(batch * heads, 1, queries, points)
            image_grad, grid_grad = torch.ops.aten.grid_sampler_2d_backward(
                grad * level_weights, image, grid, _BILINEAR, _ZEROS, False, [True, True]
            )
            image_grad = image_grad.view(batch, heads, channels, area).permute(0, 3, 1, 2)
            grad_value[:, start : start + area] = image_grad
            grid_grad = grid_grad.view(batch, heads, queries, points, 2).transpose(1, 2)
            grad_locations[:, :, :, level] = 2 * grid_grad  # the sampler's axis is [-1, 1], ours [0, 1]
        start += area
    return grad_value, grad_locations, grad_weights


def _levels(value: Tensor, shapes: Shapes, locations: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """For each level its image [B*M, D, H, W] and its grid [B*M, Q, P, 2] in the sampler's range [-1, 1]."""
    batch, queries, heads, _, points, _ = locations.shape
    channels = value.shape[3]
    # The sampler itself goes astray where a location is not finite or does not fit into an integer.
    grids = (2 * locations - 1).nan_to_num(_OUTSIDE).clamp(-_OUTSIDE, _OUTSIDE)
    areas = [height * width for height, width in shapes]
    for level, part in enumerate(value.split(areas, dim=1)):
        height, width = shapes[level]
        image = part.permute(0, 2, 3, 1).reshape(batch * heads, channels, height, width)
        grid = grids[:, :, :, level].transpose(1, 2).reshape(batch * heads, queries, points, 2)
        yield image, grid


def _zeros(tensor: Tensor) -> Tensor:
    return torch.zeros(tensor.shape, dtype=tensor.dtype, device=tensor.device)
