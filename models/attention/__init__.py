"""Attention: building blocks, and one file for each policy of which keys a query may see."""

from models.attention.base import Attended, Context, CrossAttention, CrossAttentionSpec, Level
from models.attention.deformable import MSDeformAttention
from models.attention.hrca import HighResolutionCrossAttention, HRCASpec
from models.attention.masked import MaskedAttention, MaskedAttentionSpec
from models.attention.multihead import MultiheadAttention
from models.attention.selection import CellSelectionSpec, PixelSelectionSpec, SelectionSpec

__all__ = [
    "Attended",
    "CellSelectionSpec",
    "Context",
    "CrossAttention",
    "CrossAttentionSpec",
    "HRCASpec",
    "HighResolutionCrossAttention",
    "Level",
    "MSDeformAttention",
    "MaskedAttention",
    "MaskedAttentionSpec",
    "MultiheadAttention",
    "PixelSelectionSpec",
    "SelectionSpec",
]
