"""Queries: their content X_0, and one file for each strategy of telling a query where to look (Q_p)."""

from models.queries.anchors import GridAnchors, GridAnchorsSpec
from models.queries.base import PositionalQueries, PositionalQuerySpec, QueryPositions
from models.queries.content import ContentSpec, LearnableContentSpec, ZeroContent, ZeroContentSpec
from models.queries.dfpq import DFPQ, AttentionPooling, DFPQSpec
from models.queries.dynamic import DynamicQueries, DynamicQueriesSpec
from models.queries.learnable import LearnableQueries, LearnableQueriesSpec
from models.queries.masks import AnchorQueries, AnchorQueriesSpec, ForegroundQueries, ForegroundQueriesSpec

__all__ = [
    "DFPQ",
    "AnchorQueries",
    "AnchorQueriesSpec",
    "AttentionPooling",
    "ContentSpec",
    "DFPQSpec",
    "DynamicQueries",
    "DynamicQueriesSpec",
    "ForegroundQueries",
    "ForegroundQueriesSpec",
    "GridAnchors",
    "GridAnchorsSpec",
    "LearnableContentSpec",
    "LearnableQueries",
    "LearnableQueriesSpec",
    "PositionalQueries",
    "PositionalQuerySpec",
    "QueryPositions",
    "ZeroContent",
    "ZeroContentSpec",
]
