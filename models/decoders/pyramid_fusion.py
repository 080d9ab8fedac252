"""The decoder of the Pyramid Fusion Transformer (Qin et al. 2022, section III-A): one set of queries a scale.

No code was released. What the text leaves open was chosen so that the parameters and FLOPs that the paper
prints come out: 33 of 33 cells do. The reasoning stands beside each choice, here, in `exchange.py` and in
`pyramid_heads.py`; models/README.md has the table of what was tried.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from torch import Tensor, nn

from models.attention.base import Level
from models.attention.memory import MemoryAttention
from models.decoders.exchange import ExchangeSpec, InterQuerySpec, LayerShape
from models.decoders.pyramid_heads import PerClassHeadsSpec, PyramidHeadsSpec
from models.pixel_decoders.fpn import convolution
from models.pyramid_output import PyramidOutput
from models.spec import Spec, SpecError


@dataclass(frozen=True, kw_only=True)
class FeedForwardsSpec(Spec):
    """Widths of the feed-forward networks after each of a layer's three attentions; 0: there is none.

    The text puts one after self-attention and one after the inter-query attention, and gives no width. But
    the inter-query attention costs 1.3 G (table VII), which its own products fill:
    6 (4 * 450 * 256^2 + 2 * 450^2 * 256) = 1.333 G. A network of width d would add 0.00138 d G, so d is at
    most 50. Of the rest, one of 2048 after cross-attention (DETR's layer) and two of 1024 fit equally well.
    """

    least: ClassVar[dict[str, int]] = {"after_self": 0, "after_exchange": 0, "after_cross": 0}
    after_self: int = 0
    after_exchange: int = 0
    after_cross: int = 0


@dataclass(frozen=True, kw_only=True)
class AfterCrossSpec(FeedForwardsSpec):
    """DETR's decoder layer with the inter-query attention slipped in: 33 of 33 printed counts."""

    part: ClassVar[str] = "after_cross"
    after_cross: int = 2048


@dataclass(frozen=True, kw_only=True)
class SplitSpec(FeedForwardsSpec):
    """As the text has it, but for the exchange: 33 of 33 printed counts."""

    part: ClassVar[str] = "split"
    after_self: int = 1024
    after_cross: int = 1024


@dataclass(frozen=True, kw_only=True)
class EverywhereSpec(FeedForwardsSpec):
    """The text to the letter; 5 of 33 printed counts with 1024, 4 with 512, none with 2048."""

    part: ClassVar[str] = "everywhere"
    after_self: int = 1024
    after_exchange: int = 1024
    after_cross: int = 1024


@dataclass(frozen=True, kw_only=True)
class PyramidFusionSpec(Spec):
    """`layers` layers over the scales `strides` (table IX: one to four of 32, 16, 8, 4).

    `exchange` is what the scales tell each other in a layer; None: nothing.
    `input_projection`: a 1x1 convolution of each scale's features before the layers, as MaskFormer has it;
    needed for 11 of the 33 counts, among them 88 G with four scales, and for the 403 G of table V with
    Mask2Former's pixel decoder, whose levels are projected already (402.9; without it 402.4).
    Heads, dropout and the order of norms do not count; they are MaskFormer's.
    """

    part: ClassVar[str] = "pyramid_fusion"
    least: ClassVar[dict[str, int]] = {"dim": 1, "heads": 1, "layers": 1}
    dim: int = 256
    heads: int = 8
    layers: int = 6
    strides: tuple[int, ...] = (32, 16, 8)
    dropout: float = 0.1
    norm: Literal["post", "pre"] = "post"
    feed_forward: FeedForwardsSpec = field(default_factory=AfterCrossSpec)
    exchange: ExchangeSpec | None = field(default_factory=InterQuerySpec)
    input_projection: bool = True
    predictions: PyramidHeadsSpec = field(default_factory=PerClassHeadsSpec)

    @property
    def shape(self) -> LayerShape:
        """What its layers have in common."""
        return LayerShape(dim=self.dim, heads=self.heads, dropout=self.dropout, pre_norm=self.norm == "pre")

    def build(self, mask_dim: int, num_classes: int) -> PyramidFusionDecoder:
        """The decoder for levels of `dim` channels and mask features of `mask_dim`.

        Raises:
            SpecError: no stride, or one twice.
        """
        if not self.strides or len(set(self.strides)) < len(self.strides):
            raise SpecError(f"decoder.strides {self.strides}: name each scale's stride once")
        return PyramidFusionDecoder(self, mask_dim, num_classes)


class ScaleLayer(nn.Module):
    """A layer's own weights of one scale: self-attention of its queries, cross-attention to its pixels."""

    def __init__(self, shape: LayerShape, widths: FeedForwardsSpec) -> None:
        super().__init__()
        self.self_attention = shape.self_attention()
        self.after_self = shape.feed_forward(widths.after_self)
        self.cross = MemoryAttention(shape.dim, shape.heads, shape.dropout, shape.pre_norm)
        self.after_cross = shape.feed_forward(widths.after_cross)

    def attend_queries(self, queries: Tensor, places: Tensor) -> Tensor:
        """Eq. 1: queries and places [B, Q, C] -> [B, Q, C]."""
        return self.after_self(self.self_attention(queries, places))

    def attend_pixels(self, queries: Tensor, places: Tensor, level: Level) -> tuple[Tensor, Tensor | None]:
        """Eq. 3: [B, Q, C], and in training the mean logits of the attention [B, Q, H_s, W_s] (eq. 7)."""
        scores = "logits" if self.training else None
        queries, logits = self.cross.attend(queries, places, level.tokens, level.positions, scores=scores)
        return self.after_cross(queries), None if logits is None else logits.unflatten(2, level.size)


class FusionLayer(nn.Module):
    """Each scale by itself, all together, each by itself."""

    def __init__(self, spec: PyramidFusionSpec, index: int) -> None:
        super().__init__()
        widths = spec.feed_forward
        self.scales = nn.ModuleList(ScaleLayer(spec.shape, widths) for _ in spec.strides)
        self.exchange = None
        if spec.exchange is not None:
            self.exchange = spec.exchange.build(spec.shape, index, widths.after_exchange)

    def forward(
        self, queries: Sequence[Tensor], places: Sequence[Tensor], levels: Sequence[Level]
    ) -> tuple[list[Tensor], list[Level], list[Tensor]]:
        """Queries [B, Q, C] and their places of each scale; gives queries, levels, attention of each."""
        queries = [s.attend_queries(q, p) for s, q, p in zip(self.scales, queries, places, strict=True)]
        levels = list(levels)
        if self.exchange is not None:
            queries, levels = self.exchange(queries, places, levels)
        attended = [
            scale.attend_pixels(q, p, level)
            for scale, q, p, level in zip(self.scales, queries, places, levels, strict=True)
        ]
        attention = [logits for _, logits in attended if logits is not None]
        return [q for q, _ in attended], levels, attention


class PyramidFusionDecoder(nn.Module):
    """Learned queries and positions of each scale, the layers, and the heads after each of them."""

    def __init__(self, spec: PyramidFusionSpec, mask_dim: int, num_classes: int) -> None:
        super().__init__()
        self.strides = tuple(sorted(spec.strides, reverse=True))
        count = len(self.strides)
        queries = count * spec.predictions.queries(num_classes)  # those of the coarsest scale first
        self.content, self.places = nn.Embedding(queries, spec.dim), nn.Embedding(queries, spec.dim)
        self.projections = nn.ModuleList(
            convolution(spec.dim, spec.dim, 1) if spec.input_projection else nn.Identity()
            for _ in self.strides
        )
        self.layers = nn.ModuleList(FusionLayer(spec, index) for index in range(spec.layers))
        self.heads = spec.predictions.build(spec.dim, mask_dim, num_classes, count)

    def forward(
        self, features: Mapping[int, Tensor], positions: Mapping[int, Tensor], mask_features: Tensor
    ) -> PyramidOutput:
        """Predictions after the last layer; those of the input queries and the other layers are auxiliary.

        Args:
            features: [B, C, H_s, W_s] by stride s.
            positions: their encodings, [B or 1, C, H_s, W_s].
            mask_features: [B, C_m, h, w].
        """
        batch = mask_features.shape[0]
        levels = self._levels(features, positions)
        queries, places = (
            [scale.expand(batch, -1, -1) for scale in table.weight.chunk(len(self.strides))]
            for table in (self.content, self.places)
        )
        outputs = [self.heads(queries, mask_features)]
        for layer in self.layers:
            queries, levels, attention = layer(queries, places, levels)
            outputs.append(self.heads(queries, mask_features))
            outputs[-1].attention = attention
        *auxiliary, last = outputs
        last.auxiliary = auxiliary
        return last

    def _levels(self, features: Mapping[int, Tensor], positions: Mapping[int, Tensor]) -> list[Level]:
        levels = []
        for stride, project in zip(self.strides, self.projections, strict=True):
            feature = project(features[stride])
            tokens, places = feature.flatten(2).mT, positions[stride].flatten(2).mT
            levels.append(Level(tokens, places, (feature.shape[2], feature.shape[3]), stride))
        return levels
