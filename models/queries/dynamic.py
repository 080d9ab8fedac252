"""Positional queries made anew for each image: what DFPQ and its rivals in FASeg's Table 5 share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from torch import Tensor, nn

from models.queries.base import PositionalQueries, PositionalQuerySpec, QueryPositions

Source = Literal["dynamic", "learnable"]


@dataclass(frozen=True, kw_only=True)
class DynamicQueriesSpec(PositionalQuerySpec):
    """Where the dynamic positions go; defaults are the released code of FASeg.

    `high_resolution`: HRCA gets the "learnable" B as it is (paper: "dynamic", like every block).
    `self_attention`: which positions self-attention gets (the paper speaks of cross-attention only;
    Mask2Former would have "learnable").
    """

    high_resolution: Source = "learnable"
    self_attention: Source = "dynamic"


class DynamicQueries(PositionalQueries):
    """A learned bias B [Q, C] and one projection h, two layers, shared by all blocks (FASeg, equation 2)."""

    def __init__(self, num_queries: int, dim: int, spec: DynamicQueriesSpec) -> None:
        super().__init__()
        self.spec = spec
        self.embedding = nn.Embedding(num_queries, dim)
        self.project = projection(dim)

    def learned(self) -> QueryPositions:
        """B everywhere, to start from."""
        return QueryPositions.same(self.embedding.weight[None])

    def with_dynamic(self, current: QueryPositions, dynamic: Tensor) -> QueryPositions:
        """`current` with dynamic positions [B, Q, C] where the spec wants them."""
        return replace(
            current,
            cross=dynamic,
            high_resolution=dynamic if self.spec.high_resolution == "dynamic" else current.high_resolution,
            self_attention=dynamic if self.spec.self_attention == "dynamic" else current.self_attention,
        )


def projection(dim: int) -> nn.Sequential:
    """h: two linear layers with a ReLU between them."""
    return nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim))
