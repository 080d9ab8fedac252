"""Multi-scale deformable self-attention (Deformable DETR, section 4.1): projections around the operator."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.spec import SpecError
from ops import ms_deform_attn


class MSDeformAttention(nn.Module):
    """Each query samples `points` positions in each level around its reference point, for each head."""

    def __init__(self, dim: int, levels: int, heads: int, points: int) -> None:
        super().__init__()
        if dim % heads:
            raise SpecError(f"deformable attention: {dim} channels cannot be split among {heads} heads")
        self.levels, self.heads, self.points = levels, heads, points
        self.sampling_offsets = nn.Linear(dim, heads * levels * points * 2)
        self.attention_weights = nn.Linear(dim, heads * levels * points)
        self.value_projection = nn.Linear(dim, dim)
        self.output_projection = nn.Linear(dim, dim)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """At first every head looks in its own direction, 1 to `points` steps far, with equal weights."""
        nn.init.zeros_(self.sampling_offsets.weight)
        angle = torch.arange(self.heads, dtype=torch.float32) * (2 * math.pi / self.heads)
        direction = torch.stack((angle.cos(), angle.sin()), dim=-1)
        direction = direction / direction.abs().amax(dim=-1, keepdim=True)
        steps = torch.arange(1, self.points + 1, dtype=torch.float32, device=direction.device)
        grid = direction[:, None, None, :] * steps[None, None, :, None]
        with torch.no_grad():
            self.sampling_offsets.bias.copy_(grid.expand(-1, self.levels, -1, -1).flatten())
        nn.init.zeros_(self.attention_weights.weight)
        nn.init.zeros_(self.attention_weights.bias)
        for projection in (self.value_projection, self.output_projection):
            nn.init.xavier_uniform_(projection.weight)
            nn.init.zeros_(projection.bias)

    def forward(self, query: Tensor, value: Tensor, pyramid: Pyramid) -> Tensor:
        """Deformable attention over all levels.

        Args:
            query: [B, S, C], one for each pixel of each level, positions included.
            value: [B, S, C], the levels' pixels one level after the other.
            pyramid: the levels' sizes and pixel centres.

        Returns:
            [B, S, C].
        """
        batch, queries, _ = query.shape
        per_head = (self.heads, self.levels, self.points)
        values = self.value_projection(value).unflatten(-1, (self.heads, -1))
        offsets = self.sampling_offsets(query).view(batch, queries, *per_head, 2)
        weights = self.attention_weights(query).view(batch, queries, self.heads, -1).softmax(-1)
        locations = pyramid.centres[None, :, None, None, None, :] + offsets / pyramid.extents[:, None, :]
        attended = ms_deform_attn(values, pyramid.shapes, locations, weights.view(batch, queries, *per_head))
        return self.output_projection(attended)


@dataclass(frozen=True)
class Pyramid:
    """Sizes of the levels of flattened features.

    Attributes:
        shapes: (height, width) of the L levels.
        centres: [S, 2], the centres (x, y) of all pixels, in [0, 1].
        extents: [L, 2], (width, height) of the levels.
    """

    shapes: tuple[tuple[int, int], ...]
    centres: Tensor
    extents: Tensor

    @classmethod
    def of(cls, shapes: Sequence[tuple[int, int]], like: Tensor) -> Pyramid:
        """The pyramid of these shapes, with dtype and device of `like`."""
        options = {"dtype": like.dtype, "device": like.device}
        centres = []
        for height, width in shapes:
            y = (torch.arange(height, **options) + 0.5) / height
            x = (torch.arange(width, **options) + 0.5) / width
            grid = (x.expand(height, width), y[:, None].expand(height, width))
            centres.append(torch.stack(grid, dim=-1).flatten(0, 1))
        extents = torch.tensor([(width, height) for height, width in shapes], **options)
        return cls(tuple(shapes), torch.cat(centres), extents)
