"""MaskFormer as `transformers.MaskFormerForInstanceSegmentation` keeps it, on its Swin or its ResNet.

It has no pixel decoder with an encoder, so the panoptic ResNet models have no names here.
"""

from __future__ import annotations

from torch import nn

from models.huggingface.detr import TRANSFORMER_IN_MEMORY, attention_rules, feed_forward_rules
from models.huggingface.naming import (
    FUSED,
    PROJECTIONS,
    SWIN_PROJECTIONS,
    fuse,
    rename_all,
    split,
    swin_rules,
)
from models.official import OfficialLayout, State, rename

_ENCODER = "model.pixel_level_module.encoder."
_PYRAMID = "model.pixel_level_module.decoder."
_QUERIES = "model.transformer_module."
_SWIN_FUSED = "self." + FUSED
_LAYER = r"decoder\.transformer\.layers\.(\d+)\."
_THEIR_LAYER = rf"{_QUERIES}decoder.layers.\1."
_PAIR = (("conv", "convolution"), ("bn", "normalization"))

_RESNET_RULES = (
    *((rf"backbone\.{ours}1\.(.+)", rf"{_ENCODER}embedder.embedder.{theirs}.\1") for ours, theirs in _PAIR),
    *(
        (
            rf"backbone\.layer{stage}\.(\d+)\.{ours}{i}\.(.+)",
            rf"{_ENCODER}encoder.stages.{stage - 1}.layers.\1.layer.{i - 1}.{theirs}.\2",
        )
        for stage in (1, 2, 3, 4)
        for i in (1, 2, 3)
        for ours, theirs in _PAIR
    ),
    *(
        (
            rf"backbone\.layer{stage}\.(\d+)\.downsample\.{i}\.(.+)",
            rf"{_ENCODER}encoder.stages.{stage - 1}.layers.\1.shortcut.{theirs}.\2",
        )
        for stage in (1, 2, 3, 4)
        for i, (_, theirs) in enumerate(_PAIR)
    ),
)
_PYRAMID_RULES = (
    (r"pixel_decoder\.output\.32\.(.+)", rf"{_PYRAMID}fpn.stem.\1"),
    *(
        (rf"pixel_decoder\.lateral\.{s}\.(.+)", rf"{_PYRAMID}fpn.layers.{i}.proj.\1")
        for i, s in enumerate((16, 8, 4))
    ),
    *(
        (rf"pixel_decoder\.output\.{s}\.(.+)", rf"{_PYRAMID}fpn.layers.{i}.block.\1")
        for i, s in enumerate((16, 8, 4))
    ),
    (r"pixel_decoder\.mask_features\.(.+)", rf"{_PYRAMID}mask_projection.\1"),
)
_RULES = (
    *_RESNET_RULES,
    (r"backbone\.norm(\d)\.(.+)", rf"{_ENCODER}hidden_states_norms.\1.\2"),
    *swin_rules("backbone.", _ENCODER + "model."),
    *_PYRAMID_RULES,
    (r"decoder\.projections\.res5\.(.+)", rf"{_QUERIES}input_projection.\1"),
    (r"decoder\.transformer\.query_positions\.weight", f"{_QUERIES}queries_embedder.weight"),
    *attention_rules(_LAYER + r"self_attention\.", _THEIR_LAYER + "self_attn"),
    *attention_rules(_LAYER + r"cross\.", _THEIR_LAYER + "encoder_attn"),
    *feed_forward_rules(_LAYER + r"feed_forward\.", _THEIR_LAYER),
    (r"decoder\.transformer\.norm\.(.+)", rf"{_QUERIES}decoder.layernorm.\1"),
    (r"decoder\.head\.classes\.(.+)", r"class_predictor.\1"),
    (r"decoder\.head\.mask_embedding\.layers\.(\d)\.(.+)", r"mask_embedder.\1.0.\2"),
)


def _names(model: nn.Module) -> dict[str, str]:
    return rename(model.state_dict(), _RULES, "huggingface")


def _rewrite(state: State) -> State:
    return fuse(
        fuse(rename_all(state, TRANSFORMER_IN_MEMORY), SWIN_PROJECTIONS, _SWIN_FUSED), PROJECTIONS, FUSED
    )


def _restore(state: State) -> State:
    return split(split(state, SWIN_PROJECTIONS, _SWIN_FUSED), PROJECTIONS, FUSED)


HUGGINGFACE = OfficialLayout(
    name="huggingface",
    names=_names,
    ignored=(
        r"criterion\.empty_weight",
        rf"{_ENCODER}model\.layernorm\..+",  # of the classifier that the backbone once was
        r".*\.relative_position_index",
        rf"{_ENCODER}.*\.num_batches_tracked",
    ),
    rewrite=_rewrite,
    restore=_restore,
    recognised_by=r"model\.pixel_level_module\.decoder\.fpn\..+",
)
