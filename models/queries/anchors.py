"""Positional queries at anchor points (Anchor DETR, section 3.2): a row of FASeg's Table 5."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from models.attention.base import Level
from models.positions import sines
from models.queries.base import PositionalQueries, PositionalQuerySpec, QueryPositions
from models.queries.dynamic import projection


@dataclass(frozen=True, kw_only=True)
class GridAnchorsSpec(PositionalQuerySpec):
    """Pre-defined grid anchors: h of the sines of the points of a regular grid, the same for every image."""

    part: ClassVar[str] = "grid_anchor"

    def build(self, num_queries: int, dim: int) -> PositionalQueries:
        return GridAnchors(num_queries, dim)


class GridAnchors(PositionalQueries):
    """The points lie in the middle of the cells of a grid, row by row; nothing but h is learned.

    HRCA gets the same positions as every block: there is no other vector that tells one query from the next.
    """

    def __init__(self, num_queries: int, dim: int) -> None:
        super().__init__()
        self.num_queries, self.dim = num_queries, dim
        self.project = projection(dim)

    def start(self, probabilities: Tensor | None, level: Level) -> QueryPositions:
        points = grid_points(self.num_queries, level.tokens.device)
        codes = encode_points(points, self.dim).to(self.project[0].weight.dtype)
        return QueryPositions.same(self.project(codes)[None])


def grid_points(count: int, device: torch.device | str = "cpu") -> Tensor:
    """The first `count` points (x, y) in [0, 1], row by row, of the squarest grid that has as many."""
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    index = torch.arange(count, device=device)
    x = (index % columns + 0.5) / columns
    y = (index // columns + 0.5) / rows
    return torch.stack((x, y), dim=-1)


def encode_points(points: Tensor, dim: int) -> Tensor:
    """Points (x, y) in [0, 1], [..., 2], to sines [..., dim], as sinusoidal encodings have them for pixels.

    Half of the channels for y, half for x; sine, cosine in turn; 1 lies at 2 pi.
    """
    return sines(points.flip(-1) * (2 * math.pi), dim // 2).flatten(-2)
