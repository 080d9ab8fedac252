"""The 16 corruptions of Panoptic SegFormer's Table 11, and data sets whose pictures have one.

They are those of ImageNet-C (Hendrycks & Dietterich 2019, "Benchmarking Neural Network Robustness to Common
Corruptions and Perturbations", with its four extra ones) in the form for pictures of any size (Michaelis et
al. 2019, "Benchmarking Robustness in Object Detection"), with their parameters, without zoom, elastic
transform and pixelation, as the table has it.
"""

from bench.evaluate.corruptions.dataset import Corrupted, corrupted
from bench.evaluate.corruptions.frost import GENERATED
from bench.evaluate.corruptions.kinds import (
    CORRUPTIONS,
    GROUPS,
    SEVERITIES,
    corrupt,
    corruption_means,
    corruption_runs,
    shows_frost,
)

__all__ = [
    "CORRUPTIONS",
    "GENERATED",
    "GROUPS",
    "SEVERITIES",
    "Corrupted",
    "corrupt",
    "corrupted",
    "corruption_means",
    "corruption_runs",
    "shows_frost",
]
