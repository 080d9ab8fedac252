"""Printed accuracies: what an evaluation must be for a cell, with which weights, and what came of it."""

from bench.accuracy.commands import attention, command, remark
from bench.accuracy.evidence import OFFICIAL
from bench.accuracy.scored import score

__all__ = ["OFFICIAL", "attention", "command", "remark", "score"]
