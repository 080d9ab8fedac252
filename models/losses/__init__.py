"""What each system is trained with: a criterion a file."""

from models.losses.mask import MaskCriterion, MaskLossSpec, NonFiniteError, count_masks

__all__ = ["MaskCriterion", "MaskLossSpec", "NonFiniteError", "count_masks"]
