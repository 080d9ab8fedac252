"""Attention: building blocks, and one file for each policy of which keys a query may see."""

from models.attention.base import Attended, Context, CrossAttention, CrossAttentionSpec, Level, join
from models.attention.deformable import MSDeformAttention
from models.attention.hrca import HighResolutionCrossAttention, HRCASpec
from models.attention.mask_pooling import MaskPooling, MaskPoolingSpec
from models.attention.masked import MaskedAttention, MaskedAttentionSpec
from models.attention.multihead import MultiheadAttention
from models.attention.plain import PlainAttention, PlainAttentionSpec
from models.attention.rcda import RCDASpec, RowColumnAttention, RowColumnCrossAttention
from models.attention.selection import (
    CellSelectionSpec,
    PixelSelectionSpec,
    RandomSelectionSpec,
    SelectionSpec,
)
from models.attention.smca import SMCASpec, SpatiallyModulatedAttention

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
    "MaskPooling",
    "MaskPoolingSpec",
    "MaskedAttention",
    "MaskedAttentionSpec",
    "MultiheadAttention",
    "PixelSelectionSpec",
    "PlainAttention",
    "PlainAttentionSpec",
    "RCDASpec",
    "RandomSelectionSpec",
    "RowColumnAttention",
    "RowColumnCrossAttention",
    "SMCASpec",
    "SelectionSpec",
    "SpatiallyModulatedAttention",
    "join",
]
