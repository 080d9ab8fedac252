"""Which prediction answers for which target: a rule a file."""

from models.matching.masks import HungarianMatcher, Match, NonFiniteError

__all__ = ["HungarianMatcher", "Match", "NonFiniteError"]
