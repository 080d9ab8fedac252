"""Which prediction answers for which target: a rule a file."""

from models.matching.base import Match, NonFiniteError, assign
from models.matching.boxes import BoxMatcher, target_boxes
from models.matching.masks import HungarianMatcher
from models.matching.panoptic_segformer import ChosenMatcher, LocationMatcher

__all__ = [
    "BoxMatcher",
    "ChosenMatcher",
    "HungarianMatcher",
    "LocationMatcher",
    "Match",
    "NonFiniteError",
    "assign",
    "target_boxes",
]
