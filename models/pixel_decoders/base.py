"""What every pixel decoder takes and gives."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from models.spec import Spec, SpecError


@dataclass(frozen=True, kw_only=True)
class PixelDecoderSpec(Spec):
    """Base of the pixel decoders' specs; `dim` channels in the pyramid, `mask_dim` in the mask features."""

    dim: int = 256
    mask_dim: int = 256

    def build(
        self, channels: Mapping[str, int], strides: Collection[int], encode: Collection[int]
    ) -> nn.Module:
        """The module.

        Args:
            channels: of the backbone's features "res2" to "res5".
            strides: the levels the decoder attends to.
            encode: those of them for which it also wants positional encodings.
        """
        raise NotImplementedError

    def check_decoder(self, dim: int) -> None:
        """Raises SpecError if a decoder of `dim` channels cannot take the pyramid as it is."""
        if self.dim != dim:
            raise SpecError(f"pixel_decoder.dim {self.dim} and decoder.dim {dim} must be equal")


@dataclass
class PixelFeatures:
    """What a pixel decoder gives.

    Attributes:
        mask_features: [B, C_m, h, w] at stride 4, whose dot products with the queries are the masks.
        features: [B, C, H_s, W_s] by stride s.
        positions: their positional encodings, [B or 1, C, H_s, W_s] by stride.
        encoded: [B, C, H_32, W_32], output of an encoder below the pyramid, if it has one.
    """

    mask_features: Tensor
    features: dict[int, Tensor]
    positions: dict[int, Tensor]
    encoded: Tensor | None = None
