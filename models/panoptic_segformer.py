"""Panoptic SegFormer (Li et al., 2022): the assembly and its spec.

A deformable encoder refines the backbone's levels; thing queries are located by a decoder of their own,
filtered, and decoded to masks; every stuff class has a query that goes to a mask decoder at once (section
3.1, figure 2).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from models.backbones import BackboneSpec
from models.decoders.location import Located, LocationDecoderSpec
from models.decoders.mask_decoder import LayerHeads, MaskDecoderSpec, Shapes
from models.deformable_encoder import DeformableEncoderSpec, LevelProjections
from models.images import check_images
from models.inference import InferenceSpec
from models.inference.mask_wise import MaskWiseSpec
from models.losses.panoptic_segformer import PanopticSegFormerLossSpec
from models.mmdetection import PANOPTIC_SEGFORMER
from models.official import OfficialLayout
from models.padding import padding_mask, shrink
from models.panoptic_output import Decode, Location, MaskDecoding, PanopticSegFormerOutput, rows
from models.positions import SinusoidalPositions
from models.precision import autocast_as_now
from models.spec import Spec, SpecError

INPUTS = ("res3", "res4", "res5")
DECODED = 3  # levels that masks are made of: 1/8, 1/16, 1/32


@dataclass(frozen=True, kw_only=True)
class PanopticSegFormerSpec(Spec):
    """Backbone, encoder, decoders, what chooses among the queries, loss and inference.

    Of `num_classes` classes the first `num_things` are things. `num_things` None is joint matching: the same
    queries answer for all classes and there are none for stuff (Table 8). `loss.num_things` must agree.
    """

    part: ClassVar[str] = "panoptic_segformer"
    least: ClassVar[dict[str, int]] = {
        "dim": 1, "levels": DECODED, "num_things": 1, "num_classes": 1, "kept": 1, "mask_layers": 1,
    }  # fmt: skip
    backbone: BackboneSpec
    dim: int = 256
    levels: int = 4
    """Encoded levels from 1/8 on; mask decoders see the first three (the paper encodes only these)."""
    encoder: DeformableEncoderSpec = field(default_factory=DeformableEncoderSpec)
    location: LocationDecoderSpec = field(default_factory=LocationDecoderSpec)
    things: MaskDecoderSpec = field(default_factory=MaskDecoderSpec)
    stuff: MaskDecoderSpec | None = field(
        default_factory=lambda: MaskDecoderSpec(layers=6, self_attention=True)
    )
    """None: stuff goes through the decoder of things (the paper: one workflow for both)."""
    scores: Literal["location", "masks"] = "location"
    """Where the classes of things come from: the last location layer, whose best pairs of query and class are
    decoded (released), or the last block of the mask decoder, given the best queries (the paper)."""
    kept: int = 100
    """Pairs of query and class that are kept in evaluation."""
    mask_layers: int | None = None
    """In evaluation, stop after this many masks; None: all (Table 10)."""
    num_things: int | None = 80
    num_classes: int = 133
    loss: PanopticSegFormerLossSpec = field(default_factory=PanopticSegFormerLossSpec)
    inference: InferenceSpec = field(default_factory=MaskWiseSpec)

    def build(self, device: str | torch.device = "cpu") -> PanopticSegFormer:
        """The model on `device` with freshly initialised weights ("meta": shapes only).

        Raises:
            SpecError: parts that do not fit together.
        """
        if self.num_things is not None and self.num_things > self.num_classes:
            raise SpecError(f"num_things {self.num_things} is more than num_classes {self.num_classes}")
        if self.loss.num_things != self.num_things:
            raise SpecError(
                f"num_things {self.num_things} and loss.num_things {self.loss.num_things} must be equal"
            )
        with torch.device(device):
            return PanopticSegFormer(self)


class PanopticSegFormer(nn.Module):
    """Images to located and segmented things, and a mask of each stuff class.

    Attributes:
        spec: what it was built from.
        inference: what turns its output into results.
        size_divisor: height and width of its images may have any size.
    """

    official: ClassVar[tuple[OfficialLayout, ...]] = (PANOPTIC_SEGFORMER,)
    size_divisor: ClassVar[int] = 1

    def __init__(self, spec: PanopticSegFormerSpec) -> None:
        super().__init__()
        self.spec, self.inference = spec, spec.inference.build_for("things_and_stuff")
        dim = spec.dim
        located = spec.num_classes if spec.num_things is None else spec.num_things
        stuff = spec.num_classes - located
        self.backbone = spec.backbone.build()
        channels = [self.backbone.channels[name] for name in INPUTS]
        self.projections = LevelProjections(channels, dim, spec.levels)
        self.positions = SinusoidalPositions(dim, offset=-0.5)
        self.encoder = spec.encoder.build(dim, spec.levels)
        self.location = spec.location.build(dim, spec.levels, located)
        self.thing_decoder = spec.things.build(dim)
        self.thing_heads = LayerHeads(dim, located, spec.things.layers, spec.location.outputs)
        self.stuff_queries = nn.Embedding(stuff, 2 * dim) if stuff else None  # content, then positions
        own = spec.stuff if stuff else None
        self.stuff_decoder = own.build(dim) if own else None
        self.stuff_heads = LayerHeads(dim, 1, (own or spec.things).layers) if stuff else None

    def forward(
        self, images: Tensor, sizes: Sequence[tuple[int, int]] | None = None
    ) -> PanopticSegFormerOutput:
        """Predict things and stuff.

        Args:
            images: [B, 3, H, W], normalised.
            sizes: (height, width) of each image without the padding at its right and bottom; None: no
                padding. Encoder and location decoder leave the padding out; mask decoders, as released, do
                not.

        Raises:
            ValueError: images of another kind, or sizes that do not fit them.
        """
        check_images(images)
        maps = self.backbone(images)
        levels = self.projections([maps[name] for name in INPUTS])
        padding: list[Tensor] | None = None
        if sizes is not None:
            whole = padding_mask(sizes, images)
            padding = [shrink(whole, (x.shape[2], x.shape[3])) for x in levels]
        masks = padding or [None] * len(levels)
        positions = [self.positions(x, padding=mask) for x, mask in zip(levels, masks, strict=True)]
        memory, pyramid = self.encoder(levels, positions, padding)
        located = self.location(memory, pyramid)
        shapes = pyramid.shapes[:DECODED]
        return self._decode(located, memory[:, : sum(height * width for height, width in shapes)], shapes)

    def _decode(self, located: Located, memory: Tensor, shapes: Shapes) -> PanopticSegFormerOutput:
        layers = None if self.training else self.spec.mask_layers
        locations, decode = located.predictions, self._decoder(located, memory, shapes, layers)
        if not locations:  # then the mask decoder tells classes and places of all queries
            everything = torch.arange(located.queries.shape[1], device=memory.device)
            decoded = decode(everything.expand(len(memory), -1))
            locations = [Location(*both) for both in zip(decoded.class_logits, decoded.boxes, strict=True)]
            decode = decoded.of
        output = PanopticSegFormerOutput(locations, self._stuff(memory, shapes, layers), decode=decode)
        if not self.training:
            self._keep_best(output, decode)
        if torch.compiler.is_exporting():
            output.decode = None  # a graph gives tensors only
        return output

    def _decoder(
        self, located: Located, memory: Tensor, shapes: Shapes, layers: int | None
    ) -> Callable[[Tensor], MaskDecoding]:
        """`Decode` for these queries and this memory."""
        autocast = autocast_as_now(memory.device.type)

        def decode(selected: Tensor) -> MaskDecoding:
            with autocast():
                queries, references = rows(located.queries, selected), rows(located.references, selected)
                decoded = self.thing_decoder(queries, memory, shapes, layers=layers)
                return self.thing_heads(decoded, references)

        return decode

    def _stuff(self, memory: Tensor, shapes: Shapes, layers: int | None) -> MaskDecoding | None:
        if self.stuff_queries is None or self.stuff_heads is None:
            return None
        both = self.stuff_queries.weight.expand(len(memory), -1, -1)
        queries, positions = both.split(self.spec.dim, dim=-1)
        decoder = self.thing_decoder if self.stuff_decoder is None else self.stuff_decoder
        return self.stuff_heads(decoder(queries, memory, shapes, positions, layers))

    def _keep_best(self, output: PanopticSegFormerOutput, decode: Decode) -> None:
        """Chooses the best pairs of query and class, best first, and decodes their masks."""
        probabilities = output.class_logits.sigmoid()
        count = probabilities.shape[1]
        if self.spec.scores == "masks":
            chosen = probabilities.amax(-1).topk(min(self.spec.kept, count)).indices
            decoded = decode(chosen)
            probabilities = decoded.class_logits[-1].sigmoid()
        classes = probabilities.shape[2]
        best = probabilities.flatten(1).topk(min(self.spec.kept, probabilities[0].numel()))
        queries, labels = best.indices // classes, best.indices % classes
        if self.spec.scores == "masks":
            output.selected, output.things = chosen.gather(1, queries), decoded.of(queries)
        else:
            output.selected, output.things = queries, decode(queries)
        output.selected_labels, output.selected_scores = labels, best.values
