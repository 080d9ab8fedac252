"""What Hugging Face layouts share: separate query, key and value projections, and a Swin's names.

The names are those of files, on the hub or written by `save_pretrained`. Since its version 5 `transformers`
calls some tensors otherwise in memory; `rename_all` brings those back.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import torch

from models.official import State

PROJECTIONS = ("q_proj", "k_proj", "v_proj")
"""Query, key and value, in the order in which our layers stack them."""
FUSED = "qkv_proj"
"""What the three are called together."""

SWIN_PROJECTIONS = tuple(f"self.{name}" for name in ("query", "key", "value"))

_SWIN_IN_MEMORY = (
    (r"encoder\.swin\.", "encoder."),
    *(
        (rf"(blocks\.\d+\.attention\.){memory}\.", rf"\1{file}.")
        for memory, file in zip(PROJECTIONS, SWIN_PROJECTIONS, strict=True)
    ),
    (r"(blocks\.\d+\.attention\.)relative_position_bias\.", r"\1self."),
    (r"(blocks\.\d+\.attention\.)o_proj\.", r"\1output.dense."),
    (r"(blocks\.\d+\.)mlp\.fc1\.", r"\1intermediate.dense."),
    (r"(blocks\.\d+\.)mlp\.fc2\.", r"\1output.dense."),
)

_SWIN = (
    (r"patch_embed\.proj\.(.+)", r"embeddings.patch_embeddings.projection.\1"),
    (r"patch_embed\.norm\.(.+)", r"embeddings.norm.\1"),
    *((rf"norm{i}\.(.+)", rf"hidden_states_norms.stage{i + 1}.\1") for i in range(4)),
    *(
        (rf"(layers\.\d+\.blocks\.\d+\.){ours}\.(.+)", rf"encoder.\1{theirs}.\2")
        for ours, theirs in (
            (r"attn\.qkv", f"attention.self.{FUSED}"),
            (r"attn\.proj", "attention.output.dense"),
            ("norm1", "layernorm_before"),
            ("norm2", "layernorm_after"),
            (r"mlp\.fc1", "intermediate.dense"),
            (r"mlp\.fc2", "output.dense"),
        )
    ),
    (r"(layers\.\d+\.blocks\.\d+\.)attn\.(relative_position_bias_table)", r"encoder.\1attention.self.\2"),
    (r"(layers\.\d+\.downsample\..+)", r"encoder.\1"),
)


def swin_rules(ours: str, theirs: str) -> list[tuple[str, str]]:
    """Rules for `models.official.rename` from our Swin at prefix `ours` to theirs at prefix `theirs`."""
    return [(re.escape(ours) + pattern, theirs + replacement) for pattern, replacement in _SWIN]


def swin_from_memory(state: State) -> State:
    """The state dict of a model in memory with a Swin's tensors called as in files."""
    return rename_all(state, _SWIN_IN_MEMORY)


def rename_all(state: State, rules: Iterable[tuple[str, str]]) -> State:
    """Every rule in turn replaces what it finds inside the names."""
    renamed = dict(state)
    for pattern, replacement in rules:
        renamed = {re.sub(pattern, replacement, key): tensor for key, tensor in renamed.items()}
    return renamed


def fuse(state: State, parts: Sequence[str] = PROJECTIONS, fused: str = FUSED) -> State:
    """Query, key and value projections of the same name as one; those that lack a sibling stay."""
    first = re.compile(rf"(.*\b){re.escape(parts[0])}\.(weight|bias)")
    result = dict(state)
    for key in state:
        if match := first.fullmatch(key):
            keys = [f"{match[1]}{part}.{match[2]}" for part in parts]
            if all(k in state for k in keys):
                result[f"{match[1]}{fused}.{match[2]}"] = torch.cat([result.pop(k) for k in keys])
    return result


def split(state: State, parts: Sequence[str] = PROJECTIONS, fused: str = FUSED) -> State:
    """The inverse of `fuse`."""
    together = re.compile(rf"(.*\b){re.escape(fused)}\.(weight|bias)")
    result = {}
    for key, tensor in state.items():
        if match := together.fullmatch(key):
            for part, value in zip(parts, tensor.chunk(len(parts)), strict=True):
                result[f"{match[1]}{part}.{match[2]}"] = value.clone()
        else:
            result[key] = tensor
    return result
