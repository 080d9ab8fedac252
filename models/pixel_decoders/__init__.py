"""Pixel decoders: backbone features to a feature pyramid and per-pixel embeddings."""

from models.pixel_decoders.base import PixelDecoderSpec, PixelFeatures
from models.pixel_decoders.bifpn import BiFPNPixelDecoder, BiFPNSpec
from models.pixel_decoders.fapn import FaPNPixelDecoder, FaPNSpec
from models.pixel_decoders.fpn import FPNPixelDecoder, FPNSpec
from models.pixel_decoders.msdeformattn import MSDeformAttnPixelDecoder, MSDeformAttnSpec
from models.pixel_decoders.semantic_fpn import SemanticFPNPixelDecoder, SemanticFPNSpec

__all__ = [
    "BiFPNPixelDecoder",
    "BiFPNSpec",
    "FPNPixelDecoder",
    "FPNSpec",
    "FaPNPixelDecoder",
    "FaPNSpec",
    "MSDeformAttnPixelDecoder",
    "MSDeformAttnSpec",
    "PixelDecoderSpec",
    "PixelFeatures",
    "SemanticFPNPixelDecoder",
    "SemanticFPNSpec",
]
