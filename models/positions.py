"""Positional encodings K_p of image features (FASeg, section 3.2 and Table 3): one vector for each pixel.

Every part is a module called once for each level with that level's feature map; what it returns is added to
keys of attention, and DFPQ aggregates it. `strides` at build time are the levels it will be asked for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.spec import Spec


@dataclass(frozen=True, kw_only=True)
class PositionSpec(Spec):
    """Base of the positional encodings' specs."""

    def build(self, dim: int, strides: Sequence[int]) -> PositionEncoding:
        """The module for features of `dim` channels at these strides."""
        raise NotImplementedError


class PositionEncoding(nn.Module):
    """Maps a feature map [B, C, H, W] of the level at `stride` to its encodings, [B or 1, C, H, W]."""

    def forward(self, feature: Tensor, stride: int) -> Tensor:
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class SinusoidalSpec(PositionSpec):
    """Fixed sines of row and column (DETR, after Vaswani et al.); no parameters. What Mask2Former uses."""

    part: ClassVar[str] = "sinusoidal"
    temperature: float = 10000.0

    def build(self, dim: int, strides: Sequence[int]) -> PositionEncoding:
        return SinusoidalPositions(dim, self.temperature)


class SinusoidalPositions(PositionEncoding):
    """Half of the channels for the row, half for the column; sine, cosine in turn; positions up to 2 pi.

    `offset` is added to rows and columns, which count from 1 (0 in DETR, -0.5 in Deformable DETR).
    """

    def __init__(self, dim: int, temperature: float = 10000.0, offset: float = 0.0) -> None:
        super().__init__()
        self.dim, self.temperature, self.offset = dim, temperature, offset

    def forward(self, feature: Tensor, stride: int = 0, padding: Tensor | None = None) -> Tensor:
        """Feature [B, C, H, W] to [1, C, H, W]; with `padding` [B, H, W] bool, True where it is not image,
        to [B, C, H, W], where rows and columns of the image alone are counted."""
        height, width = feature.shape[-2:]
        if padding is not None:
            valid = ~padding
            y, x = valid.cumsum(1, dtype=torch.float32), valid.cumsum(2, dtype=torch.float32)
            rows = self._code(y, y[:, -1:])
            columns = self._code(x, x[:, :, -1:])
            return torch.cat((rows, columns), dim=-1).permute(0, 3, 1, 2).to(feature.dtype)
        rows = self._axis(height, feature).t()[None, :, :, None].expand(1, -1, height, width)
        columns = self._axis(width, feature).t()[None, :, None, :].expand(1, -1, height, width)
        return torch.cat((rows, columns), dim=1)

    def _axis(self, length: int, like: Tensor) -> Tensor:
        """[length, dim / 2]; the pixels are counted from 1, the last lies at 2 pi."""
        position = torch.arange(1, length + 1, dtype=torch.float32, device=like.device)
        return self._code(position, length).to(like.dtype)

    def _code(self, position: Tensor, last: Tensor | int) -> Tensor:
        """Positions [...], counted from 1 to `last`, to [..., dim / 2]."""
        position = position + self.offset if self.offset else position
        position = position / (last + 1e-6) * (2 * math.pi)
        return sines(position, self.dim // 2, self.temperature)


def sines(angle: Tensor, channels: int, temperature: float = 10000.0) -> Tensor:
    """Angles [...] to sine, cosine in turn of ever slower ones, [..., channels] (Vaswani et al., 3.5)."""
    index = torch.arange(channels, dtype=angle.dtype, device=angle.device)
    period = temperature ** (2 * torch.div(index, 2, rounding_mode="floor") / channels)
    slower = angle[..., None] / period
    return torch.stack((slower[..., 0::2].sin(), slower[..., 1::2].cos()), dim=-1).flatten(-2)


@dataclass(frozen=True, kw_only=True)
class LearnableSpec(PositionSpec):
    """Learned absolute encodings: a vector for each row and each column of each level, concatenated.

    FASeg gives no details and released no code for this row of its Table 3; the separable form is that of
    DETR. Each row and column has its own vector at images of `image_size` pixels (the training crop); at
    other sizes the tables are interpolated linearly.
    """

    part: ClassVar[str] = "learnable"
    least: ClassVar[dict[str, int]] = {"image_size": 1}
    image_size: int = 512

    def build(self, dim: int, strides: Sequence[int]) -> PositionEncoding:
        return LearnablePositions(dim, {stride: -(-self.image_size // stride) for stride in strides})


class LearnablePositions(PositionEncoding):
    """For each level a table of rows and one of columns [dim / 2, length]; N(0, 1) at first."""

    def __init__(self, dim: int, lengths: dict[int, int]) -> None:
        super().__init__()
        self.rows = nn.ParameterDict(
            {str(s): nn.Parameter(torch.empty(dim // 2, n)) for s, n in lengths.items()}
        )
        self.columns = nn.ParameterDict(
            {str(s): nn.Parameter(torch.empty(dim // 2, n)) for s, n in lengths.items()}
        )
        for parameter in self.parameters():
            nn.init.normal_(parameter)

    def forward(self, feature: Tensor, stride: int) -> Tensor:
        height, width = feature.shape[-2:]
        rows = _resampled(self.rows[str(stride)], height)[None, :, :, None].expand(1, -1, height, width)
        columns = _resampled(self.columns[str(stride)], width)[None, :, None, :].expand(1, -1, height, width)
        return torch.cat((rows, columns), dim=1).to(feature.dtype)


@dataclass(frozen=True, kw_only=True)
class ConditionalSpec(PositionSpec):
    """A depth-wise 3x3 convolution of the features themselves (CPVT; what FASeg uses).

    CPVT adds the convolution to the features; FASeg's code takes the convolution alone as a separate
    encoding.

    `finest` says what the encoding at stride 4 is computed from inside the pixel decoder: "projected", a
    projection of the backbone's stride-4 features that serves nothing else (the released code), or "lateral",
    the lateral projection which the feature pyramid has anyway (the printed FLOPs fit a model without the
    extra projection).
    """

    part: ClassVar[str] = "conditional"
    finest: Literal["projected", "lateral"] = "projected"

    def build(self, dim: int, strides: Sequence[int]) -> PositionEncoding:
        return ConditionalPositions(dim, strides)


class ConditionalPositions(PositionEncoding):
    """One depth-wise convolution a level; zero padding at the border is what makes it absolute."""

    def __init__(self, dim: int, strides: Sequence[int]) -> None:
        super().__init__()
        self.convolutions = nn.ModuleDict(
            {str(s): nn.Conv2d(dim, dim, 3, padding=1, groups=dim) for s in strides}
        )

    def forward(self, feature: Tensor, stride: int) -> Tensor:
        return self.convolutions[str(stride)](feature)


def _resampled(table: Tensor, length: int) -> Tensor:
    """[C, n] to [C, length]."""
    if table.shape[1] == length:
        return table
    return F.interpolate(table[None], size=length, mode="linear", align_corners=False)[0]
