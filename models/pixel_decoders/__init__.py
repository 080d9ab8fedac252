"""Pixel decoders: backbone features to a feature pyramid and per-pixel embeddings."""

from models.pixel_decoders.base import PixelDecoderSpec, PixelFeatures
from models.pixel_decoders.msdeformattn import MSDeformAttnPixelDecoder, MSDeformAttnSpec

__all__ = ["MSDeformAttnPixelDecoder", "MSDeformAttnSpec", "PixelDecoderSpec", "PixelFeatures"]
