"""A spec made small enough for a CPU, with all that its row is about left as it is.

What an ablation varies (schedules, attention, positional encodings, query strategies, layers of a decoder) is
kept; what makes a model large (backbone, channels, feed-forward widths, queries, encoder layers, loss points)
is reduced, alike for every row.
"""

from collections.abc import Mapping
from typing import Any

from models.inference import Task
from models.panoptic_head import GROUPS, PanopticHeadSpec
from models.spec import Spec, paths

BACKBONE = {
    "part": "resnet", "depth": 50, "layers": [1, 1, 1, 1], "block": "basic", "width": 16, "norm": "group",
    "stem": None, "multi_grid": None, "frozen_stages": -1,
}  # fmt: skip

SMALL = {
    "dim": 64,
    "pixel_decoder.dim": 64,
    "pixel_decoder.mask_dim": 64,
    "pixel_decoder.layers": 1,
    "pixel_decoder.heads": 4,
    "pixel_decoder.ffn_dim": 128,
    "pixel_decoder.norm_groups": 8,
    "pixel_decoder.encoder.layers": 1,
    "pixel_decoder.encoder.heads": 4,
    "pixel_decoder.encoder.ffn_dim": 128,
    "encoder.layers": 1,
    "encoder.heads": 4,
    "encoder.ffn_dim": 128,
    "decoder.dim": 64,
    "decoder.heads": 4,
    "decoder.ffn_dim": 128,
    "decoder.feed_forward.after_self": 128,
    "decoder.feed_forward.after_exchange": 128,
    "decoder.feed_forward.after_cross": 128,
    "location.heads": 4,
    "location.ffn_dim": 128,
    "things.heads": 4,
    "things.ffn_dim": 128,
    "stuff.heads": 4,
    "stuff.ffn_dim": 128,
    "loss.points": 256,
}
"""The most that a field may be, by path; smaller values stay, and fields that a system does not have."""

QUERIES: dict[Task, int] = {"semantic": 20, "panoptic": 30, "instance": 30}
"""More than an embedded picture has segments: 12 classes, or some 20 objects and 6 regions at the most."""


def shrink(spec: Spec, task: Task = "semantic", backbone: Mapping[str, Any] = BACKBONE) -> Spec:
    """`spec` at CPU size, for the same classes, on a small `backbone`."""
    changes: dict[str, Any] = {}
    queries = {"decoder.num_queries": QUERIES[task], "location.num_queries": QUERIES[task]}
    known = {path: _value(spec, path) for path in paths(spec)}
    for path, most in {**SMALL, **queries}.items():
        if known.get(path) is not None:
            changes[path] = min(known[path], most)
    head = known.get("mask_head")
    if isinstance(head, PanopticHeadSpec):  # halves the channels level by level, and normalises in groups
        for path in ("dim", "decoder.dim"):
            if path in changes:
                changes[path] = max(changes[path], GROUPS * 2 ** (len(head.levels) + 1))
    return spec.override({"backbone": dict(backbone), **changes})


def _value(spec: Spec, path: str) -> Any:
    for name in path.split("."):
        spec = getattr(spec, name)
    return spec
