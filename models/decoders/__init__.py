"""Transformer decoders: what turns queries and image features into classes and masks."""

from models.decoders.location import LocationDecoder, LocationDecoderSpec
from models.decoders.mask_decoder import MaskDecoder, MaskDecoderSpec
from models.decoders.round_robin import DecoderSpec, RoundRobinDecoder
from models.decoders.transformer import (
    TransformerDecoder,
    TransformerDecoderSpec,
    TransformerEncoder,
    TransformerEncoderSpec,
)

__all__ = [
    "DecoderSpec",
    "LocationDecoder",
    "LocationDecoderSpec",
    "MaskDecoder",
    "MaskDecoderSpec",
    "RoundRobinDecoder",
    "TransformerDecoder",
    "TransformerDecoderSpec",
    "TransformerEncoder",
    "TransformerEncoderSpec",
]
