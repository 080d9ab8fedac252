"""Scores of predictions: mean IoU, panoptic quality, average precision; of maps, of files, of a model."""

from bench.evaluate.ap import MaskAP
from bench.evaluate.miou import mean_iou
from bench.evaluate.pq import PanopticQuality
from bench.evaluate.pq_files import pq_compute
from bench.evaluate.predict import TestSpec, predict_instances, predict_panoptic, predict_semantic
from bench.evaluate.scores import evaluate

__all__ = [
    "MaskAP",
    "PanopticQuality",
    "TestSpec",
    "evaluate",
    "mean_iou",
    "pq_compute",
    "predict_instances",
    "predict_panoptic",
    "predict_semantic",
]
