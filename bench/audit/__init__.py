"""The audit: what the printed numbers say about each other, by general rules over the record alone."""

from bench.audit.finding import EXPLAINED, GRADES, HARD, RIGHT, SOFT, Check, Place
from bench.audit.runner import Audit, audit, contradicted, contradictions

__all__ = [
    "EXPLAINED",
    "GRADES",
    "HARD",
    "RIGHT",
    "SOFT",
    "Audit",
    "Check",
    "Place",
    "audit",
    "contradicted",
    "contradictions",
]
