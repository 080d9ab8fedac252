"""Scores of predictions: mean IoU of semantic maps, at one scale or at several."""

from bench.evaluate.miou import mean_iou
from bench.evaluate.semantic import TestSpec, predict_semantic, semantic_scores

__all__ = ["TestSpec", "mean_iou", "predict_semantic", "semantic_scores"]
