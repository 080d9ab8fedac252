"""The names that the released Panoptic SegFormer, a model of mmdetection 2.12, has for its weights.

The released files hold older names than the code, which renames them while loading; both are read.
"""

from __future__ import annotations

from torch import nn

from models.official import OfficialLayout, State, rename

_TRANSFORMER = "bbox_head.transformer."
_DEFORMABLE = (
    ("sampling_offsets", "sampling_offsets"),
    ("attention_weights", "attention_weights"),
    ("value_projection", "value_proj"),
    ("output_projection", "output_proj"),
)
_ENCODER = (
    *((rf"attention\.{ours}\.(.+)", rf"attentions.0.{theirs}.\1") for ours, theirs in _DEFORMABLE),
    (r"linear1\.(.+)", r"ffns.0.layers.0.0.\1"),
    (r"linear2\.(.+)", r"ffns.0.layers.1.\1"),
    (r"norm1\.(.+)", r"norms.0.\1"),
    (r"norm2\.(.+)", r"norms.1.\1"),
)
_LOCATION = (
    (r"self_attention\.attention\.(.+)", r"attentions.0.attn.\1"),
    *((rf"cross\.{ours}\.(.+)", rf"attentions.1.{theirs}.\1") for ours, theirs in _DEFORMABLE),
    (r"feed_forward\.linear1\.(.+)", r"ffns.0.layers.0.0.\1"),
    (r"feed_forward\.linear2\.(.+)", r"ffns.0.layers.1.\1"),
    (r"self_attention\.norm\.(.+)", r"norms.0.\1"),
    (r"norm\.(.+)", r"norms.1.\1"),
    (r"feed_forward\.norm\.(.+)", r"norms.2.\1"),
)
_MAPS = (
    (r"query\.(.+)", r"q.\1"),
    (r"key\.(.+)", r"k.\1"),
    *((rf"fusion\.levels\.{i}\.(.+)", rf"linear_l{i + 1}.0.\1") for i in range(3)),
    (r"fusion\.output\.(.+)", r"linear.0.\1"),
)
_MASK_BLOCK = (
    (r"self_attention\.attention\.in_proj_(.+)", r"self_attention.qkv.\1"),
    (r"self_attention\.attention\.out_proj\.(.+)", r"self_attention.proj.\1"),
    (r"self_attention\.norm\.(.+)", r"norm3.\1"),
    *((rf"maps\.{ours}", f"attn.{theirs}") for ours, theirs in _MAPS),
    (r"value\.(.+)", r"attn.v.\1"),
    (r"output\.(.+)", r"attn.proj.\1"),
    (r"norm\.(.+)", r"head_norm1.\1"),
    (r"feed_forward\.linear1\.(.+)", r"mlp.fc1.\1"),
    (r"feed_forward\.linear2\.(.+)", r"mlp.fc2.\1"),
    (r"feed_forward\.norm\.(.+)", r"head_norm2.\1"),
)
_BOX_HEAD = tuple((rf"layers\.{i}\.(.+)", rf"{2 * i}.\1") for i in range(3))
_NECK = (
    *((rf"{i}\.0\.(.+)", rf"convs.{i}.conv.\1") for i in range(3)),
    *((rf"{i}\.1\.(.+)", rf"convs.{i}.gn.\1") for i in range(3)),
    (r"3\.0\.(.+)", r"extra_convs.0.conv.\1"),
    (r"3\.1\.(.+)", r"extra_convs.0.gn.\1"),
)


def _inside(ours: str, theirs: str, parts: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """Rules of parts below a module; a "#" in both its names is the number of a layer."""
    numbers, made = ours.replace(".", r"\.").replace("#", r"(?P<n>\d+)"), theirs.replace("#", r"\g<n>")
    group = 2 if "#" in ours else 1
    return tuple((numbers + rule, made + name.replace(r"\1", rf"\{group}")) for rule, name in parts)


_THINGS, _STUFF = "bbox_head.things_mask_head.", "bbox_head.stuff_mask_head."
_RULES = (
    *_inside("projections.layers.", "neck.", _NECK),
    (r"encoder\.level_embedding", f"{_TRANSFORMER}level_embeds"),
    *_inside("encoder.layers.#.", f"{_TRANSFORMER}encoder.layers.#.", _ENCODER),
    *_inside("location.layers.#.", f"{_TRANSFORMER}decoder.layers.#.", _LOCATION),
    (r"location\.reference\.(.+)", rf"{_TRANSFORMER}reference_points.\1"),
    (r"location\.queries\.weight", "bbox_head.query_embedding.weight"),
    (r"stuff_queries\.weight", "bbox_head.stuff_query.weight"),
    *_inside("location.box_heads.#.", "bbox_head.reg_branches.#.", _BOX_HEAD),
    *_inside("thing_heads.boxes.#.", "bbox_head.reg_branches2.#.", _BOX_HEAD),
    (r"location\.class_heads\.(.+)", r"bbox_head.cls_branches.\1"),
    (r"(thing|stuff)_heads\.classes\.(.+)", r"bbox_head.cls_\1_branches.\2"),
    *_inside("thing_decoder.blocks.#.", f"{_THINGS}blocks.#.", _MASK_BLOCK),
    *_inside("thing_decoder.tail.", f"{_THINGS}attnen.", _MAPS),
    *_inside("stuff_decoder.blocks.#.", f"{_STUFF}blocks.#.", _MASK_BLOCK),
    *_inside("stuff_decoder.tail.", f"{_STUFF}attnen.", _MAPS),
)
_OLDER = (
    (".mask_head.", ".things_mask_head."),
    (".mask_head2.", ".stuff_mask_head."),
    (".cls_branches2.", ".cls_thing_branches."),
)


def _names(model: nn.Module) -> dict[str, str]:
    state = model.state_dict()
    backbone = {}
    for key in state:
        if key.startswith("backbone."):
            backbone[key] = "backbone." + model.backbone.mmdetection_key(key.removeprefix("backbone."))
    return backbone | rename(state.keys() - backbone.keys(), _RULES)


def _current_names(state: State) -> State:
    """The names of the released code for those of the released files."""
    for older, newer in _OLDER:
        state = {key.replace(older, newer): tensor for key, tensor in state.items()}
    return state


PANOPTIC_SEGFORMER = OfficialLayout(
    names=_names,
    ignored=(r"backbone\..*\.relative_position_index",),
    rewrite=_current_names,
)
