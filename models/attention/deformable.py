"""Multi-scale deformable attention (Deformable DETR, section 4.1): projections around the operator."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.spec import SpecError
from ops import ms_deform_attn, ms_deform_attn_points


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

    def forward(
        self, query: Tensor, value: Tensor, pyramid: Pyramid, references: Tensor | None = None
    ) -> Tensor:
        """Deformable attention over all levels.

        Args:
            query: [B, Q, C], positions included.
            value: [B, S, C], the levels' pixels one level after the other.
            pyramid: the levels' sizes, pixel centres and padding; padded pixels give zeros.
            references: where the queries look, of each level, as `Pyramid.place` gives them: points
                [B or 1, Q, L or 1, 2], around which offsets count in pixels, or boxes [B, Q, L or 1, 4]
                (centre x, centre y, width, height), in which they count in the box's half sizes / `points`.
                None: the query of each pixel looks around that pixel (Q = S).

        Returns:
            [B, Q, C].
        """
        batch, queries, _ = query.shape
        per_head = (self.heads, self.levels, self.points)
        values = self.value_projection(value)
        if pyramid.padding is not None:
            values = values.masked_fill(pyramid.padding[..., None], 0.0)
        values = values.unflatten(-1, (self.heads, -1))
        offsets = self.sampling_offsets(query).view(batch, queries, *per_head, 2)
        logits = self.attention_weights(query).view(batch, queries, *per_head)
        references = pyramid.references if references is None else references
        if references.shape[-1] == 2:
            attended = ms_deform_attn_points(
                values, pyramid.shapes, references, offsets, logits, pyramid.extents
            )
        else:
            boxes = references[:, :, None, :, None, :]
            locations = boxes[..., :2] + offsets / self.points * boxes[..., 2:] * 0.5
            weights = logits.flatten(3).softmax(-1).view(logits.shape)
            attended = ms_deform_attn(values, pyramid.shapes, locations, weights)
        return self.output_projection(attended)


@dataclass(frozen=True)
class Pyramid:
    """Sizes of the levels of flattened features, and which part of each is image.

    Images are padded at the right and the bottom; without padding all of a level is valid.

    Attributes:
        shapes: (height, width) of the L levels.
        centres: [S, 2], the centres (x, y) of all pixels, in [0, 1] of the padded level.
        extents: [L, 2], (width, height) of the levels.
        references: [B or 1, S, L or 1, 2], where each pixel lies in each level, in [0, 1] of its padded size.
        ratios: [B, L, 2], the valid part of each level's (width, height); None: all.
        padding: [B, S], True at padded pixels; None: nowhere.
    """

    shapes: tuple[tuple[int, int], ...]
    centres: Tensor
    extents: Tensor
    references: Tensor
    ratios: Tensor | None = None
    padding: Tensor | None = None

    @classmethod
    def of(
        cls,
        shapes: Sequence[tuple[int, int]],
        like: Tensor,
        padding: Sequence[Tensor] | None = None,
    ) -> Pyramid:
        """The pyramid of these shapes, with dtype and device of `like`.

        Args:
            padding: of each level [B, H_l, W_l] bool, True where it is not image.
        """
        options = {"dtype": like.dtype, "device": like.device}
        grids = []
        for height, width in shapes:
            y = (torch.arange(height, **options) + 0.5) / height
            x = (torch.arange(width, **options) + 0.5) / width
            grid = (x.expand(height, width), y[:, None].expand(height, width))
            grids.append(torch.stack(grid, dim=-1).flatten(0, 1))
        centres = torch.cat(grids)
        extents = torch.tensor([(width, height) for height, width in shapes], **options)
        if padding is None:
            return cls(tuple(shapes), centres, extents, centres[None, :, None])
        ratios = torch.stack([_valid_part(mask).to(like.dtype) for mask in padding], dim=1)
        own = [grid / ratio[:, None] for grid, ratio in zip(grids, ratios.unbind(1), strict=True)]
        references = torch.cat(own, dim=1)[:, :, None] * ratios[:, None]
        flat = torch.cat([mask.flatten(1) for mask in padding], dim=1)
        return cls(tuple(shapes), centres, extents, references, ratios, flat)

    def place(self, references: Tensor) -> Tensor:
        """Points [B, Q, 2] or boxes [B, Q, 4] (x, y, width, height) in [0, 1] of the image to those of each
        padded level, [B, Q, L or 1, 2 or 4]."""
        references = references[:, :, None]
        if self.ratios is None:
            return references
        return references * self.ratios.repeat(1, 1, references.shape[-1] // 2)[:, None]


def _valid_part(padding: Tensor) -> Tensor:
    """[B, H, W] bool to the parts (x, y) of width and height that are image, [B, 2]."""
    valid = ~padding
    return torch.stack((valid[:, 0].float().mean(1), valid[:, :, 0].float().mean(1)), dim=-1)
