"""Deformable DETR's names in the authors' files and in `transformers.DeformableDetrForObjectDetection`'s.

Both keep the box heads twice where boxes are refined, and one class and box head as often as there are layers
where they are not. Their files hold no counters of batch norm: models with the override
`backbone.norm = "frozen"` fit them, and those with `projection_bias` and `mask_head = None` the detectors.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from torch import nn

from models.huggingface.detr import TRANSFORMER_IN_MEMORY, attention_rules, feed_forward_rules
from models.huggingface.naming import FUSED, PROJECTIONS, fuse, rename_all, split
from models.official import OfficialLayout, State, rename
from models.panoptic_head import NAMES

_ENCODER, _DECODER = r"encoder\.layers\.(\d+)\.", r"decoder\.layers\.(\d+)\."
_DEFORMABLE = {
    "sampling_offsets": "sampling_offsets",
    "attention_weights": "attention_weights",
    "value_projection": "value_proj",
    "output_projection": "output_proj",
}
_HEADS = (
    (r"decoder\.class_heads\.(.+)", r"class_embed.\1"),
    (r"decoder\.box_heads\.(.+)", r"bbox_embed.\1"),
)


def _deformable(ours: str, theirs: str) -> tuple[tuple[str, str], ...]:
    """Rules for deformable attention below the pattern `ours`, which has one group."""
    return tuple((rf"{ours}{a}\.(.+)", rf"{theirs}.{b}.\2") for a, b in _DEFORMABLE.items())


_T = "transformer."
_RELEASED_RULES = (
    *_deformable(_ENCODER + r"attention\.", _T + r"encoder.layers.\1.self_attn"),
    (_ENCODER + r"((?:norm|linear)\d\..+)", _T + r"encoder.layers.\1.\2"),
    (_DECODER + r"self_attention\.attention\.(.+)", _T + r"decoder.layers.\1.self_attn.\2"),
    *_deformable(_DECODER + r"cross\.", _T + r"decoder.layers.\1.cross_attn"),
    (_DECODER + r"norm\.(.+)", _T + r"decoder.layers.\1.norm1.\2"),
    (_DECODER + r"self_attention\.norm\.(.+)", _T + r"decoder.layers.\1.norm2.\2"),
    (_DECODER + r"feed_forward\.norm\.(.+)", _T + r"decoder.layers.\1.norm3.\2"),
    (_DECODER + r"feed_forward\.(linear\d\..+)", _T + r"decoder.layers.\1.\2"),
    (r"encoder\.level_embedding", _T + "level_embed"),
    (r"decoder\.reference\.(.+)", _T + r"reference_points.\1"),
    (r"decoder\.queries\.weight", "query_embed.weight"),
    (r"projections\.layers\.(.+)", r"input_proj.\1"),
    (r"backbone\.(.+)", r"backbone.0.body.\1"),
    *_HEADS,
)
_M = "model."
_HUGGINGFACE_RULES = (
    *_deformable(_ENCODER + r"attention\.", _M + r"encoder.layers.\1.self_attn"),
    (_ENCODER + r"norm1\.(.+)", _M + r"encoder.layers.\1.self_attn_layer_norm.\2"),
    (_ENCODER + r"norm2\.(.+)", _M + r"encoder.layers.\1.final_layer_norm.\2"),
    (_ENCODER + r"linear(\d\..+)", _M + r"encoder.layers.\1.fc\2"),
    *attention_rules(_DECODER + r"self_attention\.", _M + r"decoder.layers.\1.self_attn"),
    *_deformable(_DECODER + r"cross\.", _M + r"decoder.layers.\1.encoder_attn"),
    (_DECODER + r"norm\.(.+)", _M + r"decoder.layers.\1.encoder_attn_layer_norm.\2"),
    *feed_forward_rules(_DECODER + r"feed_forward\.", _M + r"decoder.layers.\1."),
    (r"encoder\.level_embedding", _M + "level_embed"),
    (r"decoder\.reference\.(.+)", _M + r"reference_points.\1"),
    (r"decoder\.queries\.weight", _M + "query_position_embeddings.weight"),
    (r"projections\.layers\.(.+)", _M + r"input_proj.\1"),
    (r"backbone\.(.+)", _M + r"backbone.conv_encoder.model.\1"),
    *_HEADS,
)


def _names(rules: tuple[tuple[str, str], ...], layout: str) -> Callable[[nn.Module], dict[str, str]]:
    def names(model: nn.Module) -> dict[str, str]:
        """As in DETR, with a mask head the detector's names have a prefix, without they have none."""
        prefix = "" if model.mask_head is None else "detr."
        detector = [(ours, prefix + theirs) for ours, theirs in rules]
        return rename(model.state_dict(), [*NAMES, *detector], layout)

    return names


def _single(state: State, decoder: str) -> State:
    """Without the repeated heads; `decoder` is the prefix of the second box heads."""
    copies = re.compile(rf"(detr\.)?{re.escape(decoder)}(bbox_embed\..+)")
    heads = {f"{m[1] or ''}{m[2]}": key for key in state if (m := copies.fullmatch(key))}
    single = {key: tensor for key, tensor in state.items() if key not in heads.values()}
    if heads:
        single |= {name: state[key] for name, key in heads.items() if name not in state}
        return _classes_like_boxes(single)
    return {key: tensor for key, tensor in single.items() if not _REPEATED.fullmatch(key)}


def _classes_like_boxes(state: State) -> State:
    """A class head for each box head: `transformers` 5 shares and writes the first alone, unless a file has
    more."""
    box = re.compile(r"((?:detr\.)?)bbox_embed\.(\d+)\.layers\.0\.(weight|bias)")
    result = dict(state)
    for m in filter(None, map(box.fullmatch, state)):
        first = f"{m[1]}class_embed.0.{m[3]}"
        if first in state:
            result.setdefault(f"{m[1]}class_embed.{m[2]}.{m[3]}", state[first])
    return result


_REPEATED = re.compile(r"(detr\.)?(class|bbox)_embed\.[1-9]\d*\..+")


def _repeated(state: State, decoder: str) -> State:
    """The inverse of `_single`."""
    head = re.compile(r"((?:detr\.)?)((class|bbox)_embed\.)(\d+)(\..+)")
    layer = re.compile(rf"(?:detr\.)?{re.escape(decoder)}layers\.(\d+)\..+")
    layers = 1 + max(int(m[1]) for key in state if (m := layer.fullmatch(key)))
    heads = {key: m for key in state if (m := head.fullmatch(key))}
    refined = len({m[4] for m in heads.values()}) == layers
    result = dict(state)
    for key, m in heads.items():
        if not refined:
            result |= {f"{m[1]}{m[2]}{i}{m[5]}": state[key].clone() for i in range(1, layers)}
        elif m[3] == "bbox":
            result[f"{m[1]}{decoder}{m[2]}{m[4]}{m[5]}"] = state[key].clone()
    return result


RELEASED = OfficialLayout(
    names=_names(_RELEASED_RULES, "released"),
    rewrite=lambda state: _single(state, "transformer.decoder."),
    restore=lambda state: _repeated(state, "transformer.decoder."),
)
HUGGINGFACE = OfficialLayout(
    name="huggingface",
    names=_names(_HUGGINGFACE_RULES, "huggingface"),
    rewrite=lambda state: fuse(_single(rename_all(state, TRANSFORMER_IN_MEMORY), "model.decoder.")),
    restore=lambda state: split(_repeated(state, "model.decoder."), PROJECTIONS, FUSED),
    recognised_by=r"(detr\.)?model\.(encoder|decoder)\..+",
)
