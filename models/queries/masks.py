"""Positional queries from the masks predicted before each block: two rivals of DFPQ in FASeg's Table 5."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from models.attention.base import Level
from models.queries.anchors import encode_points
from models.queries.base import PositionalQueries, QueryPositions
from models.queries.dfpq import AttentionPooling, mean_position
from models.queries.dynamic import DynamicQueries, DynamicQueriesSpec


@dataclass(frozen=True, kw_only=True)
class ForegroundQueriesSpec(DynamicQueriesSpec):
    """Dynamic foreground: h of the mean encoding K_p over all of the predicted foreground, plus B."""

    part: ClassVar[str] = "dynamic_foreground"

    def build(self, num_queries: int, dim: int) -> PositionalQueries:
        return ForegroundQueries(num_queries, dim, self)


@dataclass(frozen=True, kw_only=True)
class AnchorQueriesSpec(DynamicQueriesSpec):
    """Dynamic anchor: h of the sines of the centre of the predicted foreground (as DAB-DETR), plus B.

    The paper names neither the sines nor B; the first are Anchor DETR's and DAB-DETR's, the second DFPQ's.
    """

    part: ClassVar[str] = "dynamic_anchor"

    def build(self, num_queries: int, dim: int) -> PositionalQueries:
        return AnchorQueries(num_queries, dim, self)


class MaskQueries(DynamicQueries):
    """Renewed before every block, before HRCA only if that gets dynamic positions."""

    def encode(self, foreground: Tensor, level: Level) -> Tensor:
        """Predicted foreground [B, Q, N] bool at a level to encodings [B, Q, C]."""
        raise NotImplementedError

    def steers(self, high_resolution: bool) -> bool:
        return not high_resolution or self.spec.high_resolution == "dynamic"

    def start(self, probabilities: Tensor | None, level: Level) -> QueryPositions:
        if probabilities is None:
            raise ValueError("positional queries from masks need the initially predicted masks")
        return self.renew(self.learned(), probabilities, level)

    def renew(self, current: QueryPositions, probabilities: Tensor, level: Level) -> QueryPositions:
        foreground = probabilities.detach().flatten(2) >= 0.5
        return self.with_dynamic(
            current, self.project(self.encode(foreground, level) + self.embedding.weight)
        )


class ForegroundQueries(MaskQueries):
    """A query without foreground has h(B)."""

    def __init__(self, num_queries: int, dim: int, spec: DynamicQueriesSpec) -> None:
        super().__init__(num_queries, dim, spec)
        self.pool = AttentionPooling()

    def encode(self, foreground: Tensor, level: Level) -> Tensor:
        return mean_position(self.pool, foreground, level)


class AnchorQueries(MaskQueries):
    """A query without foreground has the centre of the image."""

    def encode(self, foreground: Tensor, level: Level) -> Tensor:
        extent = level.tokens.new_tensor(level.extent(), dtype=torch.float32)
        points = level.centres() / extent
        region = foreground.to(points.dtype)
        count = region.sum(dim=-1, keepdim=True)
        centre = (region @ points) / count.clamp(min=1)
        centre = torch.where(count > 0, centre, torch.full_like(centre, 0.5))
        return encode_points(centre, self.embedding.weight.shape[1]).to(level.positions.dtype)
