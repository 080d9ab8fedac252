"""Operators: tensors in, tensors out. Each has a readable PyTorch reference beside it."""

from ops.backend import BackendError, active_backend
from ops.deformable import ms_deform_attn, ms_deform_attn_multiply_adds, ms_deform_attn_reference
from ops.png import png_segment_ids, png_segment_ids_reference
from ops.points import ms_deform_attn_points

__all__ = [
    "BackendError",
    "active_backend",
    "ms_deform_attn",
    "ms_deform_attn_multiply_adds",
    "ms_deform_attn_points",
    "ms_deform_attn_reference",
    "png_segment_ids",
    "png_segment_ids_reference",
]
