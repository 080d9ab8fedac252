"""Operators: tensors in, tensors out. Each has a readable PyTorch reference beside it."""

from ops.deformable import (
    active_backend,
    ms_deform_attn,
    ms_deform_attn_multiply_adds,
    ms_deform_attn_reference,
)

__all__ = [
    "active_backend",
    "ms_deform_attn",
    "ms_deform_attn_multiply_adds",
    "ms_deform_attn_reference",
]
