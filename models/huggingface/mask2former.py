"""Mask2Former as `transformers.Mask2FormerForUniversalSegmentation` keeps it; of the backbones, Swin."""

from __future__ import annotations

from torch import nn

from models.huggingface.naming import (
    FUSED,
    PROJECTIONS,
    SWIN_PROJECTIONS,
    fuse,
    split,
    swin_from_memory,
    swin_rules,
)
from models.official import OfficialLayout, State, rename

_PIXELS = "model.pixel_level_module."
_DECODER = _PIXELS + "decoder."
_QUERIES = "model.transformer_module."
_SWIN_FUSED = "self." + FUSED
_BLOCK = r"decoder\.blocks\.(\d+)\."
_THEIR_BLOCK = rf"{_QUERIES}decoder.layers.\1."
_STRIDES = (32, 16, 8)  # the order of their input projections

_ENCODER_LAYER = {
    r"attention\.sampling_offsets": "self_attn.sampling_offsets",
    r"attention\.attention_weights": "self_attn.attention_weights",
    r"attention\.value_projection": "self_attn.value_proj",
    r"attention\.output_projection": "self_attn.output_proj",
    "norm1": "self_attn_layer_norm",
    "linear1": "fc1",
    "linear2": "fc2",
    "norm2": "final_layer_norm",
}
_DECODER_BLOCK = {
    r"cross\.attention\.(in_proj_weight|in_proj_bias|out_proj\.weight|out_proj\.bias)": r"cross_attn.\2",
    r"cross\.norm\.(.+)": r"cross_attn_layer_norm.\2",
    r"self_attention\.attention\.in_proj_(.+)": rf"self_attn.{FUSED}.\2",
    r"self_attention\.attention\.(out_proj\..+)": r"self_attn.\2",
    r"self_attention\.norm\.(.+)": r"self_attn_layer_norm.\2",
    r"feed_forward\.linear1\.(.+)": r"fc1.\2",
    r"feed_forward\.linear2\.(.+)": r"fc2.\2",
    r"feed_forward\.norm\.(.+)": r"final_layer_norm.\2",
}
_RULES = (
    *swin_rules("backbone.", _PIXELS + "encoder."),
    *(
        (rf"pixel_decoder\.projections\.{stride}\.(.+)", rf"{_DECODER}input_projections.{i}.\1")
        for i, stride in enumerate(_STRIDES)
    ),
    (r"pixel_decoder\.encoder\.level_embedding", f"{_DECODER}level_embed"),
    *(
        (rf"pixel_decoder\.encoder\.layers\.(\d+)\.{ours}\.(.+)", rf"{_DECODER}encoder.layers.\1.{theirs}.\2")
        for ours, theirs in _ENCODER_LAYER.items()
    ),
    (r"pixel_decoder\.lateral\.(.+)", rf"{_DECODER}adapter_1.\1"),
    (r"pixel_decoder\.output\.(.+)", rf"{_DECODER}layer_1.\1"),
    (r"pixel_decoder\.mask_features\.(.+)", rf"{_DECODER}mask_projection.\1"),
    (r"decoder\.content\.weight", f"{_QUERIES}queries_features.weight"),
    (r"decoder\.queries\.embedding\.weight", f"{_QUERIES}queries_embedder.weight"),
    (r"decoder\.level_embedding\.weight", f"{_QUERIES}level_embed.weight"),
    *((_BLOCK + ours, _THEIR_BLOCK + theirs) for ours, theirs in _DECODER_BLOCK.items()),
    (r"decoder\.head\.norm\.(.+)", rf"{_QUERIES}decoder.layernorm.\1"),
    (
        r"decoder\.head\.mask_embedding\.layers\.(\d)\.(.+)",
        rf"{_QUERIES}decoder.mask_predictor.mask_embedder.\1.0.\2",
    ),
    (r"decoder\.head\.classes\.(.+)", r"class_predictor.\1"),
)


def _names(model: nn.Module) -> dict[str, str]:
    return rename(model.state_dict(), _RULES, "huggingface")


def _rewrite(state: State) -> State:
    return fuse(fuse(swin_from_memory(state), SWIN_PROJECTIONS, _SWIN_FUSED), PROJECTIONS, FUSED)


def _restore(state: State) -> State:
    return split(split(state, SWIN_PROJECTIONS, _SWIN_FUSED), PROJECTIONS, FUSED)


HUGGINGFACE = OfficialLayout(
    name="huggingface",
    names=_names,
    ignored=(
        r"criterion\.empty_weight",
        rf"{_PIXELS}encoder\.layernorm\..+",  # of the classifier that the backbone once had
        r".*\.relative_position_index",
    ),
    rewrite=_rewrite,
    restore=_restore,
    recognised_by=r"model\.pixel_level_module\..+",
)
