"""Learned positional queries, the same for every image and block (DETR, Mask2Former)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from models.attention.base import Level
from models.queries.base import PositionalQueries, PositionalQuerySpec, QueryPositions


@dataclass(frozen=True, kw_only=True)
class LearnableQueriesSpec(PositionalQuerySpec):
    """One learned vector a query."""

    part: ClassVar[str] = "learnable"

    def build(self, num_queries: int, dim: int) -> PositionalQueries:
        return LearnableQueries(num_queries, dim)


class LearnableQueries(PositionalQueries):
    """The embedding itself [Q, C], in cross-attention and self-attention alike."""

    def __init__(self, num_queries: int, dim: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(num_queries, dim)

    def start(self, probabilities: Tensor | None, level: Level) -> QueryPositions:
        return QueryPositions.same(self.embedding.weight[None])
