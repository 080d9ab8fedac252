"""Dynamic focus-aware positional queries, DFPQ (FASeg, section 3.2, equation 2)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from models.attention.base import Attended, Level
from models.precision import autocast_disabled, full_precision
from models.queries.base import PositionalQueries, PositionalQuerySpec, QueryPositions

Source = Literal["dynamic", "learnable"]


@dataclass(frozen=True, kw_only=True)
class DFPQSpec(PositionalQuerySpec):
    """Q_p = h(A K_p + B): encodings K_p of the last attended pixels, averaged by the attention scores A.

    Defaults are the released code; the paper's text has the other value where they differ.

    `initial`: where K_p is averaged for the first block, over the predicted "background" (paper:
    "foreground").
    `project_initial`: whether h is applied to that average too.
    `high_resolution`: HRCA gets the "learnable" B as it is (paper: "dynamic", like every block).
    `self_attention`: which positions self-attention gets (the paper speaks of cross-attention only;
    Mask2Former would have "learnable").
    `update_after`: which blocks renew the positions: the "masked" ones, so that after HRCA the old ones stay
    (paper: "all").
    """

    part: ClassVar[str] = "dfpq"
    initial: Literal["background", "foreground"] = "background"
    project_initial: bool = True
    high_resolution: Source = "learnable"
    self_attention: Source = "dynamic"
    update_after: Literal["masked", "all"] = "masked"

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


class DFPQ(PositionalQueries):
    """One projection h, two layers, shared by all blocks."""

    def __init__(self, num_queries: int, dim: int, spec: DFPQSpec) -> None:
        super().__init__(num_queries, dim)
        self.spec = spec
        self.pool = AttentionPooling()
        self.project = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim))

    def reads(self, high_resolution: bool) -> bool:
        return not high_resolution or self.spec.update_after == "all"

    def start(self, probabilities: Tensor | None, level: Level) -> QueryPositions:
        if probabilities is None:
            raise ValueError("the first dynamic positional queries need the initially predicted masks")
        background = probabilities.detach().flatten(2) < 0.5
        region = background if self.spec.initial == "background" else ~background
        region = region.to(level.positions.dtype)
        summed = self.pool(region, level.positions)
        positions = summed / (region.sum(dim=-1, keepdim=True) + 1e-6) + self.embedding.weight
        learned = self.embedding.weight[None]
        initial = QueryPositions(learned, learned, learned)
        return self._with_dynamic(
            initial, self.project(positions) if self.spec.project_initial else positions
        )

    def update(self, current: QueryPositions, attended: Attended, high_resolution: bool) -> QueryPositions:
        if not self.reads(high_resolution) or attended.scores is None:
            return current
        pooled = self.pool(attended.scores, attended.positions)
        return self._with_dynamic(current, self.project(pooled + self.embedding.weight))

    def _with_dynamic(self, current: QueryPositions, dynamic: Tensor) -> QueryPositions:
        return replace(
            current,
            cross=dynamic,
            high_resolution=dynamic if self.spec.high_resolution == "dynamic" else current.high_resolution,
            self_attention=dynamic if self.spec.self_attention == "dynamic" else current.self_attention,
        )
