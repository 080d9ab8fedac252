"""DETR as `transformers.DetrForSegmentation` and `DetrForObjectDetection` keep it, on a ResNet of timm's."""

from __future__ import annotations

import re

from torch import nn

from models.huggingface.naming import FUSED, PROJECTIONS, fuse, rename_all, split
from models.official import OfficialLayout, State, rename
from models.panoptic_head import NAMES

TRANSFORMER_IN_MEMORY = (
    (r"\bbackbone\.model\.", "backbone.conv_encoder.model."),
    (r"\.o_proj\.", ".out_proj."),
    (r"(layers\.\d+)\.mlp\.(fc\d)\.", r"\1.\2."),
)
"""From the names in memory to those in files, also for Deformable DETR."""

_HEAD_IN_MEMORY = (
    (r"bbox_attention\.([qk])_proj\.", r"bbox_attention.\1_linear."),
    (r"mask_head\.conv(\d)\.conv\.", r"mask_head.lay\1."),
    (r"mask_head\.conv(\d)\.norm\.", r"mask_head.gn\1."),
    *((rf"mask_head\.fpn_stages\.{i}\.fpn_adapter\.", f"mask_head.adapter{i + 1}.") for i in range(3)),
    *((rf"mask_head\.fpn_stages\.{i}\.refine\.conv\.", f"mask_head.lay{i + 3}.") for i in range(3)),
    *((rf"mask_head\.fpn_stages\.{i}\.refine\.norm\.", f"mask_head.gn{i + 3}.") for i in range(3)),
    (r"mask_head\.output_conv\.", "mask_head.out_lay."),
)


def attention_rules(ours: str, theirs: str) -> tuple[tuple[str, str], ...]:
    """Rules for an attention layer of ours, below the pattern `ours`, and its norm; `theirs` may refer to the
    pattern's groups and ends with the layer's name."""
    group = re.compile(ours).groups + 1
    return (
        (rf"{ours}attention\.in_proj_(.+)", rf"{theirs}.{FUSED}.\{group}"),
        (rf"{ours}attention\.(out_proj\..+)", rf"{theirs}.\{group}"),
        (rf"{ours}norm\.(.+)", rf"{theirs}_layer_norm.\{group}"),
    )


def feed_forward_rules(ours: str, theirs: str) -> tuple[tuple[str, str], ...]:
    """The same for a feed-forward network; `theirs` ends with a dot."""
    group = re.compile(ours).groups + 1
    return (
        (rf"{ours}linear(\d\..+)", rf"{theirs}fc\{group}"),
        (rf"{ours}norm\.(.+)", rf"{theirs}final_layer_norm.\{group}"),
    )


_LAYER = r"(encoder|decoder)\.layers\.(\d+)\."
_THEIR_LAYER = r"model.\1.layers.\2."
_DETECTOR_RULES = (
    *attention_rules(_LAYER + r"self_attention\.", _THEIR_LAYER + "self_attn"),
    *attention_rules(_LAYER + r"cross\.", _THEIR_LAYER + "encoder_attn"),
    *feed_forward_rules(_LAYER + r"feed_forward\.", _THEIR_LAYER),
    (r"decoder\.norm\.(.+)", r"model.decoder.layernorm.\1"),
    (r"decoder\.query_positions\.weight", "model.query_position_embeddings.weight"),
    (r"backbone\.(.+)", r"model.backbone.conv_encoder.model.\1"),
    (r"projection\.(.+)", r"model.input_projection.\1"),
    (r"classes\.(.+)", r"class_labels_classifier.\1"),
    (r"box\.(.+)", r"bbox_predictor.\1"),
)


def _names(model: nn.Module) -> dict[str, str]:
    """With a mask head the detector's names have a prefix, without they have none."""
    prefix = "" if model.mask_head is None else "detr."
    detector = [(pattern, prefix + name) for pattern, name in _DETECTOR_RULES]
    return rename(model.state_dict(), [*NAMES, *detector], "huggingface")


def _rewrite(state: State) -> State:
    return fuse(rename_all(state, (*TRANSFORMER_IN_MEMORY, *_HEAD_IN_MEMORY)))


def _restore(state: State) -> State:
    return split(state, PROJECTIONS, FUSED)


HUGGINGFACE = OfficialLayout(
    name="huggingface",
    names=_names,
    rewrite=_rewrite,
    restore=_restore,
    recognised_by=r"(detr\.)?model\.(encoder|decoder)\..+",
)
