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

    @classmethod
    def same(cls, positions: Tensor) -> QueryPositions:
        """The same positions everywhere."""
        return cls(positions, positions, positions)


class PositionalQueries(nn.Module):
    """A strategy, asked before the first block, before each other block (where it `steers`) and after each
    block."""

    def reads(self, high_resolution: bool) -> bool:
        """Whether `update` uses the scores of a block of that kind."""
        return False

    def steers(self, high_resolution: bool) -> bool:
        """Whether `renew` uses the masks predicted before a block of that kind."""
        return False

    def start(self, probabilities: Tensor | None, level: Level) -> QueryPositions:
        """Positions for the first block.

        Args:
            probabilities: [B, Q, h, w], sigmoid of the masks predicted before it, at the size of its level.
            level: the level it attends to.
        """
        raise NotImplementedError

    def renew(self, current: QueryPositions, probabilities: Tensor, level: Level) -> QueryPositions:
        """Positions for a later block from the masks predicted before it; arguments as of `start`."""
        return current

    def update(self, current: QueryPositions, attended: Attended, high_resolution: bool) -> QueryPositions:
        """Positions for the next block, from the cross-attention of this one."""
        return current
