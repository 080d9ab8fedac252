"""Positional queries: what every strategy takes and gives."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from models.attention.base import Attended, Level
from models.spec import Spec


@dataclass(frozen=True, kw_only=True)
class PositionalQuerySpec(Spec):
    """Base of the positional queries' specs."""

    def build(self, num_queries: int, dim: int) -> PositionalQueries:
        raise NotImplementedError


@dataclass(frozen=True)
class QueryPositions:
    """Positional queries [B or 1, Q, C] of one block, by where they are added."""

    cross: Tensor
    high_resolution: Tensor
    self_attention: Tensor


class PositionalQueries(nn.Module):
    """A strategy, asked before the first block and after each block.

    Attributes:
        embedding: [Q, C] learned vectors: the positional queries of Mask2Former, the bias B of FASeg's
        equation 2.
    """

    def __init__(self, num_queries: int, dim: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(num_queries, dim)

    def reads(self, high_resolution: bool) -> bool:
        """Whether `update` uses the scores of a block of that kind."""
        return False

    def start(self, probabilities: Tensor | None, level: Level) -> QueryPositions:
        """Positions for the first block.

        Args:
            probabilities: [B, Q, h, w], sigmoid of the masks predicted before it, at the size of its level.
            level: the level it attends to.
        """
        raise NotImplementedError

    def update(self, current: QueryPositions, attended: Attended, high_resolution: bool) -> QueryPositions:
        """Positions for the next block, from the cross-attention of this one."""
        return current
