"""Positional queries Q_p: one file for each strategy of telling a query where to look."""

from models.queries.base import PositionalQueries, PositionalQuerySpec, QueryPositions
from models.queries.dfpq import DFPQ, AttentionPooling, DFPQSpec
from models.queries.learnable import LearnableQueries, LearnableQueriesSpec

__all__ = [
    "DFPQ",
    "AttentionPooling",
    "DFPQSpec",
    "LearnableQueries",
    "LearnableQueriesSpec",
    "PositionalQueries",
    "PositionalQuerySpec",
    "QueryPositions",
]
