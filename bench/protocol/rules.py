"""The FLOP protocols: what each leaves out or alters of the formulas, and why. Nothing else is left out.

`flops/fvcore-v1` is what detectron2's `tools/analyze_model.py` printed for Mask2Former, FASeg and MaskFormer
when their papers were written (fvcore 0.1.5, torch <= 1.11, the CUDA operator compiled). `flops/exact-v1`
keeps fvcore's conventions (a multiply-add counts 1, a normalised or interpolated element a fixed number) and
leaves nothing out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import nn

from bench.protocol.tape import Entry
from models.queries import AttentionPooling

PRODUCTS = frozenset({"matmul", "bmm", "mm", "mv", "einsum", "baddbmm"})


@dataclass(frozen=True)
class Protocol:
    """A named, versioned way from a tape to a number.

    Attributes:
        invisible: family of operators -> why the tool counted none of them.
        elementwise: class of a module -> why its matrix products count 0: the released code wrote them as an
            element-wise product and a sum. Linear layers inside such a module are counted.
        einsum_as_printed: round einsums as the tool did.
    """

    name: str
    invisible: Mapping[str, str] = field(default_factory=dict)
    elementwise: Mapping[type[nn.Module], str] = field(default_factory=dict)
    einsum_as_printed: bool = False

    def count(self, entry: Entry) -> int:
        """Multiply-adds of one call under this protocol; 0 for one without a formula."""
        cost = entry.cost
        if cost is None or cost.family in self.invisible:
            return 0
        if cost.family in PRODUCTS and not self.elementwise.keys().isdisjoint(entry.modules):
            return 0
        if self.einsum_as_printed and cost.family == "einsum":
            return as_numpy_prints(cost.macs, cost.note)
        return cost.macs

    def why_nothing(self, family: str) -> str:
        """Why a family of operators that did arithmetic counted 0."""
        return self.invisible.get(family) or "; ".join(self.elementwise.values())


FVCORE = Protocol(
    name="flops/fvcore-v1",
    invisible={
        "ms_deform_attn": "a custom autograd function, one Python operator without a handle to the tracer",
        "upsample_linear1d": "no handle",
        "upsample_bicubic2d": "no handle",
        "mv": "no handle",
        "dot": "no handle",
    },
    elementwise={
        AttentionPooling: "FASeg's code multiplies scores by positions and sums, with no handle for either",
    },
    einsum_as_printed=True,
)

EXACT = Protocol(name="flops/exact-v1")

PROTOCOLS: dict[str, Protocol] = {protocol.name: protocol for protocol in (FVCORE, EXACT)}

_NOT_PRINTED = {"abc,abd->acd", "abc,adc->adb"}  # fvcore multiplies these two itself


def as_numpy_prints(macs: int, equation: str) -> int:
    """fvcore reads an einsum's cost off what `numpy.einsum_path` prints: twice as much, in 4 digits."""
    letters = dict.fromkeys(letter for letter in equation if letter.isalpha())
    names = {ord(letter): 97 + index for index, letter in enumerate(letters)}
    if equation.replace(" ", "").translate(names) in _NOT_PRINTED:
        return macs
    return int(float(f"{2 * macs:.3e}") / 2)
