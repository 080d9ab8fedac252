"""The FLOP protocols: what each leaves out or alters of the formulas, and why. Nothing else is left out.

`flops/fvcore-v1` is what detectron2's `tools/analyze_model.py` printed for Mask2Former, FASeg and MaskFormer
when their papers were written (fvcore 0.1.5, torch <= 1.11, the CUDA operator compiled).
`flops/fvcore-last-v1` leaves out the masks of the auxiliary predictions. `flops/exact-v1` keeps fvcore's
conventions (a multiply-add counts 1, a normalised or interpolated element a fixed number) and leaves nothing
out. The protocol of Panoptic SegFormer is in `modules.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from torch import nn

from bench.protocol.tape import Entry, Tape
from models.decoders.location import LocationDecoder
from models.detr import DETR
from models.heads import MLP
from models.queries import AttentionPooling

PRODUCTS = frozenset({"matmul", "bmm", "mm", "mv", "einsum", "baddbmm"})

Modules = tuple[type[nn.Module], ...]


@dataclass(frozen=True)
class Protocol:
    """A named, versioned way from a tape to a number.

    Attributes:
        invisible: family of operators -> why the tool counted none of them.
        inside: classes of modules, outermost first -> family of operators -> why the tool counted none of
            those that run inside all of these: the released code computes them in another way.
        repeated: classes of modules -> how often the released code runs what ours runs once.
        einsum_as_printed: round einsums as the tool did.
        follows_aside: whether what only the auxiliary predictions need counts, where the released code
            computes them and the last one in one call; no tracer can tell them apart.
        invisible_aside: family of operators -> why it does not count there all the same.
    """

    name: str
    invisible: Mapping[str, str] = field(default_factory=dict)
    inside: Mapping[Modules, Mapping[str, str]] = field(default_factory=dict)
    repeated: Mapping[Modules, int] = field(default_factory=dict)
    einsum_as_printed: bool = False
    follows_aside: bool = False
    invisible_aside: Mapping[str, str] = field(default_factory=dict)

    def seen(self, tape: Tape) -> list[Entry]:
        """The calls of a tape that this protocol looks at: those that its results depend on."""
        needed = tape.live(tape.results)
        if not self.follows_aside or not tape.aside:
            return needed
        last = {id(entry) for entry in needed}
        followed = [
            entry
            for entry in tape.live(tape.results | tape.aside)
            if id(entry) in last or entry.cost is None or entry.cost.family not in self.invisible_aside
        ]
        return stacked(followed) if self.einsum_as_printed else followed

    def count(self, entry: Entry) -> int:
        """What one call counts under this protocol; 0 for one without a formula."""
        cost = entry.cost
        if cost is None or cost.family in self.invisible:
            return 0
        if any(cost.family in families and within(entry, place) for place, families in self.inside.items()):
            return 0
        times = next((n for place, n in self.repeated.items() if within(entry, place)), 1)
        return times * self.of(entry)

    def of(self, entry: Entry) -> int:
        """What one visible call counts, run once."""
        cost = entry.cost
        if self.einsum_as_printed and cost.family == "einsum":
            return as_numpy_prints(cost.macs, cost.note)
        return cost.macs

    def why_nothing(self, family: str) -> str:
        """Why a family of operators that did arithmetic counted 0."""
        reasons = dict.fromkeys(families[family] for families in self.inside.values() if family in families)
        return self.invisible.get(family) or "; ".join(reasons)


def stacked(entries: list[Entry]) -> list[Entry]:
    """Einsums of one equation, size and place as one call, for predictions that are computed at once.

    It matters for their rounding alone.
    """
    groups: dict[tuple, list[Entry]] = {}
    for entry in entries:
        einsum = entry.cost is not None and entry.cost.family == "einsum"
        groups.setdefault((entry.cost, entry.modules) if einsum else (id(entry),), []).append(entry)
    return [
        replace(group[0], cost=replace(group[0].cost, macs=group[0].cost.macs * len(group)))
        if len(group) > 1
        else group[0]
        for group in groups.values()
    ]


def within(entry: Entry, place: Modules) -> bool:
    """Whether a call ran in modules of these classes, one inside the other, outermost first."""
    remaining = iter(entry.modules)
    return all(any(issubclass(module, wanted) for module in remaining) for wanted in place)


BOX_HEADS = {(LocationDecoder, MLP): 2}
"""mmdetection's Deformable DETR runs each box head in the decoder, for the next layer's reference points, and
again on the stacked outputs, for the predictions."""

FVCORE = Protocol(
    name="flops/fvcore-v1",
    invisible={
        "ms_deform_attn": "a custom autograd function, one Python operator without a handle to the tracer",
        "upsample_linear1d": "no handle",
        "upsample_bicubic2d": "no handle",
        "mv": "no handle",
        "dot": "no handle",
    },
    inside={
        (AttentionPooling,): dict.fromkeys(
            PRODUCTS, "FASeg's code multiplies scores by positions and sums, with no handle for either"
        ),
        (DETR,): {"batch_norm": "DETR's code writes frozen batch norm as a product and a sum"},
    },
    repeated=BOX_HEADS,
    einsum_as_printed=True,
    follows_aside=True,
)

FVCORE_LAST = replace(
    FVCORE,
    name="flops/fvcore-last-v1",
    invisible_aside={
        "einsum": "MaskFormer's printed figures on ADE20K have the masks of the last layer only"
    },
)

EXACT = Protocol(name="flops/exact-v1")

_NOT_PRINTED = {"abc,abd->acd", "abc,adc->adb"}  # fvcore multiplies these two itself


def as_numpy_prints(macs: int, equation: str) -> int:
    """fvcore reads an einsum's cost off what `numpy.einsum_path` prints: twice as much, in 4 digits."""
    letters = dict.fromkeys(letter for letter in equation if letter.isalpha())
    names = {ord(letter): 97 + index for index, letter in enumerate(letters)}
    if equation.replace(" ", "").translate(names) in _NOT_PRINTED:
        return macs
    return int(float(f"{2 * macs:.3e}") / 2)
