"""What each system is trained with: a criterion a file."""

from models.losses.mask import MaskCriterion, MaskLossSpec, NonFiniteError, maskformer_loss
from models.losses.panoptic_segformer import PanopticSegFormerCriterion, PanopticSegFormerLossSpec

__all__ = [
    "MaskCriterion",
    "MaskLossSpec",
    "NonFiniteError",
    "PanopticSegFormerCriterion",
    "PanopticSegFormerLossSpec",
    "maskformer_loss",
]
