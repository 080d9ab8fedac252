"""What the released detectron2 checkpoints of mask classification share (Mask2Former, FASeg, MaskFormer)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from torch import nn

from models.official import OfficialLayout, State, rename

HEAD = "sem_seg_head."
PIXELS, PREDICTOR = HEAD + "pixel_decoder.", HEAD + "predictor."


def detectron2_layout(rules: Sequence[tuple[str, str]]) -> OfficialLayout:
    """The layout of a model of a `backbone`, which names its own tensors, and of parts that `rules` name."""

    def names(model: nn.Module) -> dict[str, str]:
        state = model.state_dict()
        backbone = {}
        for key in state:
            if key.startswith("backbone."):
                backbone[key] = "backbone." + model.backbone.official_key(key.removeprefix("backbone."))
        return backbone | rename(state.keys() - backbone.keys(), rules)

    return OfficialLayout(
        names=names,
        ignored=(
            r"criterion\.empty_weight",
            r"pixel_mean|pixel_std",
            r"backbone\..*\.relative_position_index",
            r"backbone\..*\.attn_mask",
        ),
        rewrite=_current_layout,
    )


def _current_layout(state: State) -> State:
    """Older checkpoints hold the pixel decoder directly in the head, and call the content queries static."""
    current = {}
    for key, tensor in state.items():
        if key.startswith(HEAD) and not key.startswith((PIXELS, PREDICTOR)):
            key = PIXELS + key.removeprefix(HEAD)
        current[re.sub(r"(predictor\.)static_query\b", r"\1query_feat", key)] = tensor
    return current
