"""The mask decoder of Panoptic SegFormer (section 3.3.3, figures B.4 and B.5).

Queries attend to the encoded levels 1/8, 1/16 and 1/32; the attention maps themselves, a few hundred weights
later, are the masks, in every layer. Released decoders end in a tail, which has maps and no values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.decoders.location import box_head, boxes_around, class_head
from models.layers import FeedForward, SelfAttention
from models.panoptic_output import MaskDecoding
from models.spec import Spec, SpecError

EPS = 1e-6  # of the LayerNorms, as released
Shapes = Sequence[tuple[int, int]]


@dataclass(frozen=True, kw_only=True)
class MaskDecoderSpec(Spec):
    """`layers` blocks and, with `tail`, a last layer of attention maps alone.

    `fusion`: how maps become a mask, "levels" as released and in figure B.5, "convolution" as in equation 2.
    The released decoder of things has 4 blocks, that of stuff 6 with self-attention; the paper's text has 6
    for both, without self-attention.
    """

    part: ClassVar[str] = "mask_decoder"
    least: ClassVar[dict[str, int]] = {"layers": 1, "heads": 1, "ffn_dim": 1}
    layers: int = 4
    tail: bool = True
    self_attention: bool = False
    heads: int = 8
    ffn_dim: int = 1024
    fusion: Literal["levels", "convolution"] = "levels"

    def build(self, dim: int) -> MaskDecoder:
        """The decoder for queries and memory of `dim` channels."""
        return MaskDecoder(self, dim)


class LevelFusion(nn.Module):
    """Per level ReLU(Linear) over the heads, upsampling to 1/8, ReLU(Linear) to one value (figure B.5)."""

    def __init__(self, heads: int, levels: int = 3) -> None:
        super().__init__()
        self.levels = nn.ModuleList(nn.Linear(heads, heads) for _ in range(levels))
        self.output = nn.Linear(levels * heads, 1)
        for layer in (*self.levels, self.output):
            nn.init.xavier_uniform_(layer.weight)

    def forward(self, maps: list[Tensor], shapes: Shapes) -> Tensor:
        """Attention logits of each level [B, N, H_l * W_l, M] to masks >= 0, [B, N, H_0, W_0]."""
        mixed = [F.relu(layer(x)) for layer, x in zip(self.levels, maps, strict=True)]
        return F.relu(self.output(_aligned(mixed, shapes)))[..., 0].unflatten(2, shapes[0])


class ConvolutionFusion(nn.Module):
    """Upsampling to 1/8 and one 1x1 convolution (equation 2); the mask is its sigmoid."""

    def __init__(self, heads: int, levels: int = 3) -> None:
        super().__init__()
        self.output = nn.Linear(levels * heads, 1)
        nn.init.xavier_uniform_(self.output.weight)

    def forward(self, maps: list[Tensor], shapes: Shapes) -> Tensor:
        """As `LevelFusion`, with masks in [0, 1]."""
        return self.output(_aligned(maps, shapes)).sigmoid()[..., 0].unflatten(2, shapes[0])


_FUSIONS = {"levels": LevelFusion, "convolution": ConvolutionFusion}


class AttentionMaps(nn.Module):
    """Scaled products of queries and keys, and the masks made of them before any softmax."""

    def __init__(self, spec: MaskDecoderSpec, dim: int) -> None:
        super().__init__()
        if dim % spec.heads:
            raise SpecError(f"mask decoder: {dim} channels cannot be split among {spec.heads} heads")
        self.heads = spec.heads
        self.query, self.key = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.fusion = _FUSIONS[spec.fusion](spec.heads)
        for projection in (self.query, self.key):
            nn.init.xavier_uniform_(projection.weight)

    def forward(self, x: Tensor, memory: Tensor, shapes: Shapes) -> tuple[Tensor, Tensor]:
        """Queries [B, N, C] and memory [B, S, C] to logits [B, M, N, S] and masks [B, N, H_0, W_0]."""
        q, k = (
            layer(tokens).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer, tokens in ((self.query, x), (self.key, memory))
        )
        logits = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
        maps = logits.permute(0, 2, 3, 1).split([height * width for height, width in shapes], dim=2)
        return logits, self.fusion(list(maps), shapes)


class MaskBlock(nn.Module):
    """Self-attention if any, cross-attention whose maps give a mask, feed-forward network; post-norm."""

    def __init__(self, spec: MaskDecoderSpec, dim: int) -> None:
        super().__init__()
        self.self_attention = SelfAttention(dim, spec.heads, eps=EPS) if spec.self_attention else None
        self.maps = AttentionMaps(spec, dim)
        self.value, self.output = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.norm = nn.LayerNorm(dim, eps=EPS)
        self.feed_forward = FeedForward(dim, spec.ffn_dim, activation=F.gelu, eps=EPS)
        for projection in (self.value, self.output):
            nn.init.xavier_uniform_(projection.weight)

    def forward(self, x: Tensor, memory: Tensor, shapes: Shapes) -> tuple[Tensor, Tensor]:
        """Queries [B, N, C] and memory [B, S, C] to refined queries and masks [B, N, H_0, W_0]."""
        if self.self_attention is not None:
            x = self.self_attention(x)
        logits, masks = self.maps(x, memory, shapes)
        values = self.value(memory).unflatten(-1, (self.maps.heads, -1)).transpose(1, 2)
        attended = (logits.softmax(-1).to(values.dtype) @ values).transpose(1, 2).flatten(2)
        return self.feed_forward(self.norm(x + self.output(attended))), masks


class MaskDecoder(nn.Module):
    """Queries and encoded levels to a mask and a refined query, after every layer."""

    def __init__(self, spec: MaskDecoderSpec, dim: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(MaskBlock(spec, dim) for _ in range(spec.layers))
        self.tail = AttentionMaps(spec, dim) if spec.tail else None

    def forward(
        self,
        queries: Tensor,
        memory: Tensor,
        shapes: Shapes,
        positions: Tensor | None = None,
        layers: int | None = None,
    ) -> MaskDecoding:
        """Decode masks; classes and boxes are left to `LayerHeads`.

        Args:
            queries: [B, N, C].
            memory: [B, S, C], the pixels of the levels 1/8, 1/16, 1/32, one level after the other.
            shapes: (height, width) of these levels.
            positions: [B or 1, N, C], added to the queries before each layer, and never taken off again.
            layers: stop after this many masks (Table 10); None: all.
        """
        count = len(self.blocks) + (self.tail is not None)
        layers = count if layers is None else min(layers, count)
        result = MaskDecoding(masks=[])
        x = queries
        for block in self.blocks[:layers]:
            x, masks = block(x if positions is None else x + positions, memory, shapes)
            result.masks.append(masks)
            result.queries.append(x)
        if self.tail is not None and layers == count:
            x = x if positions is None else x + positions
            result.masks.append(self.tail(x, memory, shapes)[1])
        return result


class LayerHeads(nn.Module):
    """A classifier and, if `box_outputs`, a box head for the refined queries of each block."""

    def __init__(self, dim: int, num_classes: int, layers: int, box_outputs: int = 0) -> None:
        super().__init__()
        self.classes = nn.ModuleList(class_head(dim, num_classes) for _ in range(layers))
        self.boxes = nn.ModuleList(box_head(dim, box_outputs) for _ in range(layers if box_outputs else 0))

    def forward(self, decoding: MaskDecoding, references: Tensor | None = None) -> MaskDecoding:
        """The same decoding with class logits and, from references [B, N, 2 or 4] in [0, 1], boxes."""
        for i, queries in enumerate(decoding.queries):
            decoding.class_logits.append(self.classes[i](queries))
            if references is not None and len(self.boxes):
                decoding.boxes.append(boxes_around(self.boxes[i](queries), references))
        return decoding


def _aligned(maps: list[Tensor], shapes: Shapes) -> Tensor:
    """Maps of each level [B, N, H_l * W_l, M] at the size of the first: [B, N, H_0 * W_0, L * M]."""
    aligned = [maps[0]]
    for x, shape in zip(maps[1:], shapes[1:], strict=True):
        channels_first = x.transpose(2, 3).flatten(0, 1).unflatten(2, shape)
        resized = F.interpolate(channels_first, size=shapes[0], mode="bilinear", align_corners=False)
        aligned.append(resized.permute(0, 2, 3, 1).flatten(1, 2).unflatten(0, x.shape[:2]))
    return torch.cat(aligned, dim=-1)
