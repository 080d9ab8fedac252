"""Getting the data sets and the authors' released weights: addresses, licences, checked downloads."""

from bench.getting.data import get_data, how_to_get_data, page_of
from bench.getting.registry import ReleasedWeights, registry
from bench.getting.weights import (
    backbone_for,
    fetch_backbone,
    fetch_weights,
    how_to_get,
    releases,
    weights_for,
    why_none,
)

__all__ = [
    "ReleasedWeights",
    "backbone_for",
    "fetch_backbone",
    "fetch_weights",
    "get_data",
    "how_to_get",
    "how_to_get_data",
    "page_of",
    "registry",
    "releases",
    "weights_for",
    "why_none",
]
