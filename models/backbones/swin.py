"""Swin Transformer as in the released Mask2Former (Liu et al. 2021, section 3).

It differs from timm's: feature maps are padded before they are rolled, the window keeps its size at any input
size, and each stage has an output norm of its own. Activations are [B, H, W, C]; parameters are called as in
the released checkpoints.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from timm.layers import DropPath, Mlp
from torch import Tensor, nn

from models.backbones.base import LEVELS, Backbone, BackboneSpec
from models.backbones.weights import assign
from models.official import State, read_state_dict
from models.slices import ROWS, in_slices
from models.spec import SpecError

VARIANTS: dict[str, tuple[int, tuple[int, ...], tuple[int, ...], int]] = {
    # width, blocks per stage, heads per stage, window
    "tiny": (96, (2, 2, 6, 2), (3, 6, 12, 24), 7),
    "small": (96, (2, 2, 18, 2), (3, 6, 12, 24), 7),
    "base": (128, (2, 2, 18, 2), (4, 8, 16, 32), 12),
    "large": (192, (2, 2, 18, 2), (6, 12, 24, 48), 12),
}


@dataclass(frozen=True, kw_only=True)
class SwinSpec(BackboneSpec):
    """Swin-T/S with window 7, Swin-B/L with window 12; the other fields replace the variant's if set.

    Pretrained: timm's swin_tiny_patch4_window7_224.ms_in1k, swin_small_patch4_window7_224.ms_in1k,
    swin_base_patch4_window12_384.ms_in1k or .ms_in22k, swin_large_patch4_window12_384.ms_in22k, or the
    authors' files of the same. The output norms are not in them.
    """

    part: ClassVar[str] = "swin"
    least: ClassVar[dict[str, int]] = {"width": 1, "depths": 1, "heads": 1, "window": 1}

    variant: Literal["tiny", "small", "base", "large"] = "tiny"
    drop_path: float = 0.3
    """Stochastic depth, rising linearly from 0 to this at the last block (0.3 in all released configs)."""
    width: int | None = None
    depths: tuple[int, int, int, int] | None = None
    heads: tuple[int, int, int, int] | None = None
    window: int | None = None
    outputs: tuple[str, ...] = LEVELS
    """Feature maps that are given; the others have no output norm (detectors of mmdetection omit res2)."""

    def build(self) -> SwinTransformer:
        if unknown := [name for name in self.outputs if name not in LEVELS]:
            raise SpecError(f"swin has no output {unknown[0]!r}: choose from {', '.join(LEVELS)}")
        own = (self.width, self.depths, self.heads, self.window)
        shape = (value or default for value, default in zip(own, VARIANTS[self.variant], strict=True))
        backbone = SwinTransformer(*shape, self.drop_path, self.outputs)
        if self.weights and not next(backbone.parameters()).is_meta:
            output_norms = tuple(f"norm{i}." for i in range(4))
            state = _own_names(read_state_dict(self.weights))
            assign(backbone, state, self.weights, absent=output_norms)
        return backbone


class SwinTransformer(Backbone):
    """4x4 patches, four stages of windowed attention, patch merging between them, LayerNorm on each output.
    """

    def __init__(
        self,
        width: int,
        depths: tuple[int, ...],
        heads: tuple[int, ...],
        window: int,
        drop_path: float,
        outputs: tuple[str, ...] = LEVELS,
    ) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed(width)
        rates = [drop_path * i / max(sum(depths) - 1, 1) for i in range(sum(depths))]
        self.layers = nn.ModuleList()
        self.channels = {}
        for i, (level, depth, count) in enumerate(zip(LEVELS, depths, heads, strict=True)):
            dim, first = width * 2**i, sum(depths[:i])
            stage = Stage(dim, count, window, rates[first : first + depth], downsample=i < len(depths) - 1)
            self.layers.append(stage)
            if level in outputs:
                self.add_module(f"norm{i}", nn.LayerNorm(dim))
                self.channels[level] = dim
        self.apply(_init)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        x = self.patch_embed(images)
        features = {}
        for i, (level, stage) in enumerate(zip(LEVELS, self.layers, strict=True)):
            x = stage(x)
            if level in self.channels:
                features[level] = getattr(self, f"norm{i}")(x).permute(0, 3, 1, 2).contiguous()
            if stage.downsample is not None:
                x = stage.downsample(x)
        return features


class PatchEmbed(nn.Module):
    """[B, 3, H, W] to [B, ceil(H/4), ceil(W/4), C]; the image is zero-padded to a multiple of 4."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, dim, 4, stride=4)
        self.norm = nn.LayerNorm(dim)

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        x = self.proj(F.pad(images, (0, -width % 4, 0, -height % 4)))
        return self.norm(x.permute(0, 2, 3, 1))


class PatchMerging(nn.Module):
    """[B, H, W, C] to [B, ceil(H/2), ceil(W/2), 2C]: 2x2 neighbours concatenated, normalised, reduced."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)
        self.norm = nn.LayerNorm(4 * dim)

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2))
        corners = [x[:, i::2, j::2] for j in (0, 1) for i in (0, 1)]
        return self.reduction(self.norm(torch.cat(corners, -1)))


class Stage(nn.Module):
    """Blocks of one resolution, every second one with shifted windows."""

    def __init__(self, dim: int, heads: int, window: int, drop_paths: list[float], downsample: bool) -> None:
        super().__init__()
        self.window, self.shift = window, window // 2
        blocks = (Block(dim, heads, window, i % 2 == 1, rate) for i, rate in enumerate(drop_paths))
        self.blocks = nn.ModuleList(blocks)
        self.downsample = PatchMerging(dim) if downsample else None

    def forward(self, x: Tensor) -> Tensor:
        height, width = (math.ceil(size / self.window) * self.window for size in x.shape[1:3])
        mask = shift_mask(height, width, self.window, self.shift, x.device).to(x.dtype)
        positions = relative_positions(self.window, x.device)
        for block in self.blocks:
            x = block(x, positions, mask)
        return x


class Block(nn.Module):
    """x + attention(norm x), then x + MLP(norm x)."""

    def __init__(self, dim: int, heads: int, window: int, shifted: bool, drop_path: float) -> None:
        super().__init__()
        self.window, self.shift = window, window // 2 if shifted else 0
        self.norm1 = nn.LayerNorm(dim)
        self.attn = WindowAttention(dim, heads, window)
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, 4 * dim)

    def forward(self, x: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        x = x + self.drop_path(self._attend(self.norm1(x), positions, mask))
        transformed = in_slices(lambda tokens: self.mlp(self.norm2(tokens)), x.flatten(0, -2))
        return x + self.drop_path(transformed.view(x.shape))

    def _attend(self, x: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        batch, height, width, _ = x.shape
        x = F.pad(x, (0, 0, 0, -width % self.window, 0, -height % self.window))  # zeros after the norm
        padded = x.shape[1:3]
        if self.shift:
            x = x.roll((-self.shift, -self.shift), (1, 2))
        windows, masks = partition(x, self.window), mask.repeat(batch, 1, 1) if self.shift else None
        rows = max(1, ROWS // self.window**2)
        windows = in_slices(lambda w, m: self.attn(w, positions, m), windows, masks, rows=rows)
        x = merge(windows, self.window, batch, *padded)
        if self.shift:
            x = x.roll((self.shift, self.shift), (1, 2))
        return x[:, :height, :width]


class WindowAttention(nn.Module):
    """Self-attention inside windows with a learned bias per head and relative position (section 3.2)."""

    def __init__(self, dim: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, positions: Tensor, mask: Tensor | None) -> Tensor:
        """Windows [W, N, C], rows of the bias table [N, N], additive masks [W, N, N] or None."""
        count, tokens, dim = x.shape
        q, k, v = self.qkv(x).view(count, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        bias = self.relative_position_bias_table[positions.flatten()]
        bias = bias.view(1, tokens, tokens, -1).permute(0, 3, 1, 2)
        if mask is not None:
            bias = bias + mask[:, None]
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.expand(count, -1, -1, -1))
        return self.proj(attended.transpose(1, 2).reshape(count, tokens, dim))


def partition(x: Tensor, window: int) -> Tensor:
    """[B, H, W, C] to windows [B * H/w * W/w, w * w, C], row by row."""
    x = x.unflatten(2, (-1, window)).unflatten(1, (-1, window))
    return x.transpose(2, 3).reshape(-1, window * window, x.shape[-1])


def merge(windows: Tensor, window: int, batch: int, height: int, width: int) -> Tensor:
    """The inverse of `partition`."""
    x = windows.view(batch, height // window, width // window, window, window, -1)
    return x.transpose(2, 3).reshape(batch, height, width, -1)


def shift_mask(height: int, width: int, window: int, shift: int, device: torch.device) -> Tensor:
    """What a rolled window must not see: [H/w * W/w, w * w, w * w], -100 between tokens that were not
    neighbours, else 0.

    Made anew for each input, as in the released code: it costs little beside the blocks, and a cache would
    outlive the device mode (meta, fake, inference) it was filled under.
    """
    row, column = torch.arange(height, device=device), torch.arange(width, device=device)
    row = (row >= height - window).int() + (row >= height - shift).int()
    column = (column >= width - window).int() + (column >= width - shift).int()
    regions = partition((3 * row[:, None] + column)[None, :, :, None], window).squeeze(-1)
    return (regions[:, :, None] != regions[:, None]).float() * -100.0


def relative_positions(window: int, device: torch.device) -> Tensor:
    """Rows (dy + w - 1) * (2w - 1) + (dx + w - 1) of the bias table for pairs of tokens, [w * w, w * w]."""
    line = torch.arange(window, device=device)
    y, x = torch.meshgrid(line, line, indexing="ij")
    y, x = y.flatten(), x.flatten()
    return (y[:, None] - y + window - 1) * (2 * window - 1) + (x[:, None] - x + window - 1)


def _init(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, WindowAttention):
        nn.init.trunc_normal_(module.relative_position_bias_table, std=0.02)


def _own_names(state: State) -> State:
    """A file of timm or of Swin's authors under our names, without the classifier and its norm.

    timm counts a patch merging to the stage after it, the authors to the stage before it, as we do. Their
    files also hold constants, the masks and index tables of the windows.
    """
    unused, constants = ("head.", "norm."), (".attn_mask", ".relative_position_index")
    kept = {k: v for k, v in state.items() if not k.startswith(unused) and not k.endswith(constants)}
    if any(key.startswith("layers.0.downsample.") for key in kept):
        return kept
    return {_from_timm(key): value for key, value in kept.items()}


def _from_timm(name: str) -> str:
    return re.sub(r"^layers\.(\d)\.downsample", lambda match: f"layers.{int(match[1]) - 1}.downsample", name)
