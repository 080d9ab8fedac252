"""Dynamic focus-aware positional queries, DFPQ (FASeg, section 3.2, equation 2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from models.attention.base import Attended, Level
from models.precision import autocast_disabled, full_precision
from models.queries.base import PositionalQueries, QueryPositions
from models.queries.dynamic import DynamicQueries, DynamicQueriesSpec


@dataclass(frozen=True, kw_only=True)
class DFPQSpec(DynamicQueriesSpec):
    """Q_p = h(A K_p + B): encodings K_p of the last attended pixels, averaged by the attention scores A.

    Defaults are the released code; the paper's text has the other value where they differ.

    `initial`: where K_p is averaged for the first block, over the predicted "background" (paper:
    "foreground").
    `project_initial`: whether h is applied to that average too.
    `update_after`: which blocks renew the positions: the "masked" ones, so that after HRCA the old ones stay
    (paper: "all").
    `begin`: the part of the training schedule before which B alone is used (Table 11: 0.125, 0.25, 0.5 of
    160k iterations).
    """

    part: ClassVar[str] = "dfpq"
    initial: Literal["background", "foreground"] = "background"
    project_initial: bool = True
    update_after: Literal["masked", "all"] = "masked"
    begin: float = 0.0

    def build(self, num_queries: int, dim: int) -> PositionalQueries:
        return DFPQ(num_queries, dim, self)


class AttentionPooling(nn.Module):
    """Weighted sum of positional encodings, without parameters: scores [B, Q, N], positions [B or 1, N, C].

    A module of its own so that a FLOP protocol can recognise it: the authors wrote a product and a sum, which
    their counter does not count. Always in full precision, also under autocast: scores of a large level are
    tiny.
    """

    def forward(self, scores: Tensor, positions: Tensor) -> Tensor:
        with autocast_disabled(scores.device.type):
            positions = full_precision(positions).expand(scores.shape[0], -1, -1)
            return torch.bmm(scores.to(positions.dtype), positions)


class DFPQ(DynamicQueries):
    """DFPQ.

    Attributes:
        progress: how much of the training schedule has passed, in [0, 1]; the trainer sets it before each
            step, if at all. Before `begin` the dynamic positions count 0 times, so that every parameter keeps
            its place in the graph.
    """

    def __init__(self, num_queries: int, dim: int, spec: DFPQSpec) -> None:
        super().__init__(num_queries, dim, spec)
        self.spec: DFPQSpec = spec
        self.pool = AttentionPooling()
        self.progress = 1.0

    def reads(self, high_resolution: bool) -> bool:
        return not high_resolution or self.spec.update_after == "all"

    def start(self, probabilities: Tensor | None, level: Level) -> QueryPositions:
        if probabilities is None:
            raise ValueError("the first dynamic positional queries need the initially predicted masks")
        background = probabilities.detach().flatten(2) < 0.5
        region = background if self.spec.initial == "background" else ~background
        positions = mean_position(self.pool, region, level) + self.embedding.weight
        return self.with_dynamic(
            self.learned(), self.project(positions) if self.spec.project_initial else positions
        )

    def update(self, current: QueryPositions, attended: Attended, high_resolution: bool) -> QueryPositions:
        if not self.reads(high_resolution) or attended.scores is None:
            return current
        pooled = self.pool(attended.scores, attended.positions)
        return self.with_dynamic(current, self.project(pooled + self.embedding.weight))

    def with_dynamic(self, current: QueryPositions, dynamic: Tensor) -> QueryPositions:
        if self.progress < self.spec.begin:
            dynamic = self.embedding.weight + 0 * dynamic
        return super().with_dynamic(current, dynamic)


def mean_position(pool: AttentionPooling, region: Tensor, level: Level) -> Tensor:
    """Mean encoding [B, Q, C] of the pixels in a region [B, Q, N] bool; about 0 for an empty one."""
    region = region.to(level.positions.dtype)
    return pool(region, level.positions) / (region.sum(dim=-1, keepdim=True) + 1e-6)
