"""Spatially modulated co-attention (Gao et al. 2021, section 3.2), a row of Mask2Former's Table 4c."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from models.attention.base import Attended, Context, CrossAttention, CrossAttentionSpec, Level
from models.heads import MLP

UNIT = 32.0
"""Pixels of the image that one step of the Gaussians' coordinates spans: SMCA has one level, at stride 32."""


@dataclass(frozen=True, kw_only=True)
class SMCASpec(CrossAttentionSpec):
    """Logits plus the logarithm of a Gaussian around a centre that each query predicts.

    `spread`: beta, in squared steps of stride 32; SMCA's code has 8. Mask2Former does not describe its SMCA.
    Ours predicts the centre anew in every block (SMCA's code in the first one, with offsets in the others),
    and Gaussians span the same part of the image at every level.
    """

    part: ClassVar[str] = "smca"
    spread: float = 8.0

    def build(self, dim: int, heads: int, dropout: float = 0.0) -> CrossAttention:
        return SpatiallyModulatedAttention(dim, heads, dropout, self.spread)


class SpatiallyModulatedAttention(CrossAttention):
    """log G = -((x - c_x)^2 s_x^2 + (y - c_y)^2 s_y^2) / beta for each query and head.

    The centre is a sigmoid of the query, shifted for each head; the scales s, one pair a head, start at 1.
    """

    def __init__(self, dim: int, heads: int, dropout: float, spread: float) -> None:
        super().__init__(dim, heads, dropout)
        self.heads, self.spread = heads, spread
        self.place_norm = nn.LayerNorm(dim)
        self.centre = MLP(dim, dim, 2, 3)
        self.shift = nn.Linear(dim, 2 * heads)
        self.scale = nn.Linear(dim, 2 * heads)
        nn.init.zeros_(self.scale.weight)
        nn.init.ones_(self.scale.bias)

    def log_gaussian(self, placed: Tensor, level: Level) -> Tensor:
        """Queries with their positions [B, Q, C] to [B, heads, Q, N]."""
        placed = self.place_norm(placed)
        extent = placed.new_tensor(level.extent()) / UNIT
        centre = self.centre(placed).sigmoid() * extent
        centres = centre[:, :, None] + self.shift(placed).unflatten(-1, (self.heads, 2))
        scales = self.scale(placed).unflatten(-1, (self.heads, 2))
        pixels = level.centres() / UNIT
        distance = 0
        for axis in range(2):
            steps = pixels[:, axis] - centres[..., axis, None]  # [B, Q, heads, N]
            distance = distance + (steps * scales[..., axis, None]).square()
        return -distance.transpose(1, 2) / self.spread

    def forward(
        self,
        queries: Tensor,
        query_positions: Tensor,
        level: Level,
        context: Context,
        need_scores: bool = False,
    ) -> Attended:
        placed = queries + query_positions
        output, scores = self.attention(
            placed,
            level.tokens + level.positions,
            level.tokens,
            scores="masked" if need_scores else None,
            bias=self.log_gaussian(placed, level),
        )
        return Attended(self.residual(queries, output), scores, level.positions)
