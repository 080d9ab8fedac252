"""A spec made small enough for a CPU, with all that its row is about left as it is.

What an ablation varies (schedules, attention, positional encodings, query strategies) is kept; what makes a
model large (backbone, channels, feed-forward widths, queries, encoder layers, loss points) is reduced, alike
for every row.
"""

from models.spec import Spec, paths

SMALL = {
    "backbone": {"part": "resnet", "layers": [1, 1, 1, 1], "block": "basic", "width": 16, "norm": "group"},
    "pixel_decoder.dim": 64,
    "pixel_decoder.mask_dim": 64,
    "pixel_decoder.layers": 1,
    "pixel_decoder.heads": 4,
    "pixel_decoder.ffn_dim": 128,
    "pixel_decoder.norm_groups": 8,
    "decoder.dim": 64,
    "decoder.heads": 4,
    "decoder.ffn_dim": 128,
    "decoder.num_queries": 20,
    "loss.points": 256,
}
"""Overrides by path; one is left out for a system that has no such field."""


def shrink(spec: Spec) -> Spec:
    """`spec` at CPU size, for the same classes."""
    known = set(paths(spec))
    return spec.override({path: value for path, value in SMALL.items() if path in known})
