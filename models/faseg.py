"""FASeg (He et al., 2023): Mask2Former with dynamic positional queries (DFPQ) and high-resolution attention
(HRCA).

There is no class of its own: every difference is a part of the same assembly, so FASeg is a set of overrides.
Where the paper's text and the released code differ, `RELEASED` follows the code and `PAPER` the text;
`README.md` beside this file has the list.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from models.mask2former import Mask2FormerSpec
from models.spec import SpecError

DFPQ: Mapping[str, Any] = {
    "pixel_decoder.positions": "conditional",
    "decoder.queries": "dfpq",
}
"""Positional queries from attention scores, over conditional encodings (section 3.2)."""

HRCA: Mapping[str, Any] = {
    "decoder.high_resolution": "hrca",
    "decoder.schedule": (32, 16, 8, 4) * 3 + (32,),
}
"""A fourth block in every cycle, at stride 4, and the released code's thirteenth block (section 3.3)."""

RELEASED: Mapping[str, Any] = {**DFPQ, **HRCA, "decoder.attention.threshold": 0.15}
"""From Mask2Former to the released FASeg."""

PAPER: Mapping[str, Any] = {
    **RELEASED,
    "decoder.attention.threshold": 0.5,
    "decoder.schedule": (32, 16, 8, 4) * 3,
    "decoder.high_resolution.selection": "pixels",
    "decoder.queries.initial": "foreground",
    "decoder.queries.high_resolution": "dynamic",
    "decoder.queries.update_after": "all",
}
"""From Mask2Former to FASeg as its paper describes it."""

VARIANTS: Mapping[str, Mapping[str, Any]] = {"released": RELEASED, "paper": PAPER}


def faseg(base: Mask2FormerSpec, variant: str = "released") -> Mask2FormerSpec:
    """FASeg on the backbone and data set of a Mask2Former.

    Raises:
        SpecError: no such variant.
    """
    if variant not in VARIANTS:
        raise SpecError(f"FASeg has no variant {variant!r}; choose from {', '.join(VARIANTS)}")
    return base.override(VARIANTS[variant])
