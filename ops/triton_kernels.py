"""The CUDA kernels of multi-scale deformable attention, in Triton, which brings its own compiler.

A program handles BLOCK queries of one head of one image, all their sampling points one after the other: the
coordinates and weights of a point are [BLOCK], its values [BLOCK, WIDTH], WIDTH being the channels rounded up
to a power of two. Arithmetic and sums are in float32, in float64 for float64 inputs.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def locate(levels, locations, weights, at, level: tl.constexpr, inside, SUM: tl.constexpr):
    """One point per query: its level's geometry, the corner (column, row) to its upper left, the way from
    there to it, and its weight.

    A point that touches no pixel, or is not a number, gets weight 0 and a corner far outside.
    """
    height = tl.load(levels + 3 * level)
    width = tl.load(levels + 3 * level + 1)
    start = tl.load(levels + 3 * level + 2)
    x = tl.load(locations + 2 * at, mask=inside, other=0.0).to(SUM) * width.to(SUM) - 0.5
    y = tl.load(locations + 2 * at + 1, mask=inside, other=0.0).to(SUM) * height.to(SUM) - 0.5
    touches = inside & (x >= -1.0) & (x < width.to(SUM)) & (y >= -1.0) & (y < height.to(SUM))
    x = tl.where(touches, x, -2.0)
    y = tl.where(touches, y, -2.0)
    weight = tl.load(weights + at, mask=touches, other=0.0).to(SUM)
    left = tl.floor(x)
    top = tl.floor(y)
    return height, width, start, left.to(tl.int32), top.to(tl.int32), x - left, y - top, weight


@triton.jit
def corner(row, column, height, width, start, heads, channel, channels):
    """Offsets [BLOCK, WIDTH] of a pixel's channels, and which of them exist."""
    exists = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    pixel = tl.where(exists, start + row * width + column, 0)
    return pixel[:, None] * (heads * channels) + channel[None, :], exists[:, None] & (channel < channels)[
        None, :
    ]


@triton.jit
def forward_kernel(
    value, levels, locations, weights, output, pixels, queries,
    HEADS: tl.constexpr, CHANNELS: tl.constexpr, LEVELS: tl.constexpr, POINTS: tl.constexpr,
    BLOCK: tl.constexpr, WIDTH: tl.constexpr, SUM: tl.constexpr,
):  # fmt: skip
    """value [B, S, M, D], levels [L, 3] (height, width, first pixel), locations [B, Q, M, L, P, 2], weights
    [B, Q, M, L, P], output [B, Q, M * D]."""
    head = tl.program_id(1) % HEADS
    image = (tl.program_id(1) // HEADS).to(tl.int64)
    query = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    channel = tl.arange(0, WIDTH)
    inside = query < queries
    pair = (image * queries + query) * HEADS + head
    source = value + (image * pixels * HEADS + head) * CHANNELS
    total = tl.zeros([BLOCK, WIDTH], SUM)
    for level in tl.static_range(LEVELS):
        for point in range(POINTS):
            at = pair * (LEVELS * POINTS) + level * POINTS + point
            height, width, start, left, top, x, y, weight = locate(
                levels, locations, weights, at, level, inside, SUM
            )
            for side in tl.static_range(4):
                share = (y if side >= 2 else 1.0 - y) * (x if side % 2 == 1 else 1.0 - x) * weight
                offset, exists = corner(
                    top + side // 2, left + side % 2, height, width, start, HEADS, channel, CHANNELS
                )
                total += share[:, None] * tl.load(source + offset, mask=exists, other=0.0).to(SUM)
    target = output + pair[:, None] * CHANNELS + channel[None, :]
    tl.store(target, total.to(output.dtype.element_ty), mask=inside[:, None] & (channel < CHANNELS)[None, :])


@triton.jit
def backward_kernel(
    grad, value, levels, locations, weights, grad_value, grad_locations, grad_weights, scale, pixels, queries,
    HEADS: tl.constexpr, CHANNELS: tl.constexpr, LEVELS: tl.constexpr, POINTS: tl.constexpr,
    BLOCK: tl.constexpr, WIDTH: tl.constexpr, SUM: tl.constexpr, FIXED: tl.constexpr,
):  # fmt: skip
    """grad [B, Q, M * D], the rest as in the forward. `grad_value` is added to: in its own type, or if
    FIXED in whole numbers of 1 / scale (int64), which add up to the same bits in any order."""
    head = tl.program_id(1) % HEADS
    image = (tl.program_id(1) // HEADS).to(tl.int64)
    query = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    channel = tl.arange(0, WIDTH)
    inside = query < queries
    pair = (image * queries + query) * HEADS + head
    first = (image * pixels * HEADS + head) * CHANNELS
    wanted = inside[:, None] & (channel < CHANNELS)[None, :]
    g = tl.load(grad + pair[:, None] * CHANNELS + channel[None, :], mask=wanted, other=0.0).to(SUM)
    unit = tl.load(scale)
    for level in tl.static_range(LEVELS):
        for point in range(POINTS):
            at = pair * (LEVELS * POINTS) + level * POINTS + point
            height, width, start, left, top, x, y, weight = locate(
                levels, locations, weights, at, level, inside, SUM
            )
            by_x = tl.zeros([BLOCK], SUM)
            by_y = tl.zeros([BLOCK], SUM)
            by_weight = tl.zeros([BLOCK], SUM)
            for side in tl.static_range(4):
                down = y if side >= 2 else 1.0 - y
                right = x if side % 2 == 1 else 1.0 - x
                offset, exists = corner(
                    top + side // 2, left + side % 2, height, width, start, HEADS, channel, CHANNELS
                )
                dot = tl.sum(g * tl.load(value + first + offset, mask=exists, other=0.0).to(SUM), axis=1)
                by_weight += down * right * dot
                by_x += (down if side % 2 == 1 else -down) * dot
                by_y += (right if side >= 2 else -right) * dot
                part = (down * right * weight)[:, None] * g
                if FIXED:
                    whole = tl.floor(part.to(tl.float64) * unit + 0.5).to(tl.int64)
                    tl.atomic_add(grad_value + first + offset, whole, mask=exists & wanted, sem="relaxed")
                else:
                    tl.atomic_add(grad_value + first + offset, part, mask=exists & wanted, sem="relaxed")
            tl.store(grad_weights + at, by_weight.to(grad_weights.dtype.element_ty), mask=inside)
            by_x = by_x * weight * width.to(SUM)
            by_y = by_y * weight * height.to(SUM)
            tl.store(grad_locations + 2 * at, by_x.to(grad_locations.dtype.element_ty), mask=inside)
            tl.store(grad_locations + 2 * at + 1, by_y.to(grad_locations.dtype.element_ty), mask=inside)
