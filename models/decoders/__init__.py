"""Transformer decoders: what turns queries and image features into classes and masks."""

from models.decoders.round_robin import DecoderSpec, RoundRobinDecoder

__all__ = ["DecoderSpec", "RoundRobinDecoder"]
