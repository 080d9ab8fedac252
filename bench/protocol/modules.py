"""`flops/mmcv-v1`: what `mmcv.cnn.get_model_complexity_info` counts, the tool of Panoptic SegFormer.

It hangs a hook on every module of a type that it knows (convolutions, `nn.Linear`, norms, `nn.ReLU` and its
kin, pooling, `nn.Upsample`) and adds up what they say. Nothing else counts: no function, thus no product of
an attention and no interpolation; no module of another type, thus nothing of an `nn.MultiheadAttention` and
no GELU. Source: `mmcv/cnn/utils/flops_counter.py` of mmcv 1.3.4.

Our modules are not mmcv's, so this reads operators off the tape, and the modules that they ran in. The hooks
count all that the released model runs; what that is, the end of the count says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from bench.protocol.formulas import Cost
from bench.protocol.rules import BOX_HEADS, Protocol, within
from bench.protocol.tape import Entry
from models.attention.multihead import MultiheadAttention
from models.decoders.mask_decoder import MaskBlock

AFFINE = 2  # per normalised element; 1 without an affine transform


def _with_bias(cost: Cost) -> int:
    return cost.macs + cost.outputs * cost.affine


def _normalised(cost: Cost) -> int:
    return cost.inputs * (AFFINE if cost.affine else 1)


COUNTED: dict[str, Callable[[Cost], int]] = {
    "conv": _with_bias,
    "linear": lambda cost: cost.macs,  # without the bias
    **dict.fromkeys(("batch_norm", "group_norm", "layer_norm", "instance_norm"), _normalised),
    **dict.fromkeys(("relu", "prelu", "elu", "leaky_relu", "relu6"), lambda cost: cost.outputs),
    **dict.fromkeys(
        ("max_pool1d", "max_pool2d", "max_pool2d_with_indices", "max_pool3d", "avg_pool1d", "avg_pool2d")
        + ("avg_pool3d", "adaptive_avg_pool2d", "adaptive_max_pool2d"),
        lambda cost: cost.inputs,
    ),
}
"""By family of operators, each call of which is a module in the released code."""

_UPSAMPLED = ("upsample_nearest2d", "upsample_bilinear2d", "upsample_bicubic2d", "upsample_linear1d")


@dataclass(frozen=True)
class ModuleProtocol(Protocol):
    """A count by modules.

    Attributes:
        spelled_out: modules whose attention the released code writes with `nn.Linear`, not as an
            `nn.MultiheadAttention`.
    """

    spelled_out: tuple[type[nn.Module], ...] = ()

    def of(self, entry: Entry) -> int:
        """What the hooks would have said of one call."""
        cost, innermost = entry.cost, entry.modules[-1:]
        if cost.family == "linear" and within(entry, (MultiheadAttention,)):
            return cost.macs if any(within(entry, (module,)) for module in self.spelled_out) else 0
        if cost.family in _UPSAMPLED:
            return cost.outputs if innermost == (nn.Upsample,) else 0
        return COUNTED[cost.family](cost) if cost.family in COUNTED else 0

    def why_nothing(self, family: str) -> str:
        """Why a family of operators that did arithmetic counted 0."""
        return super().why_nothing(family) or "a function, or a module of a type that the tool does not know"


MMCV = ModuleProtocol(
    name="flops/mmcv-v1",
    repeated=BOX_HEADS,
    follows_aside=True,
    spelled_out=(MaskBlock,),
)
