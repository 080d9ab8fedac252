"""Multiply-adds of one operator call, from shapes alone.

One multiply-add counts 1. Normalisation and interpolation count a fixed number per element, as fvcore has it
(github.com/facebookresearch/fvcore, `fvcore/nn/jit_handles.py`); both protocols share these conventions.
Nothing here knows a protocol; see `rules.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from bench.protocol.free import FREE
from ops import ms_deform_attn_multiply_adds


@dataclass(frozen=True, slots=True)
class Cost:
    """Multiply-adds of one call; `family` is the name reports use, one for all spellings of an operation.

    Attributes:
        note: tells calls of a family apart where a protocol cares (the equation of an `einsum`).
        inputs: elements of the first tensor that the call reads.
        outputs: elements of the first tensor that it gives.
        affine: whether a convolution or linear layer has a bias, a normalisation a weight.
    """

    family: str
    macs: int
    note: str = ""
    inputs: int = 0
    outputs: int = 0
    affine: bool = False


Formula = Callable[[tuple, dict, Any], int]

NORMALISED = 5  # per element; 4 without an affine transform
NORMALISED_BY_CONSTANTS = 2  # batch norm in eval mode: scale and shift; 1 without an affine transform
LINEAR = 2  # taps per output element
BILINEAR = 4
BICUBIC = 16


def _argument(args: tuple, index: int) -> Any:
    return args[index] if index < len(args) else None


def _convolution(args: tuple, kwargs: dict, out: Tensor) -> int:
    return out.numel() * math.prod(args[1].shape[1:])


def _transposed_convolution(args: tuple, kwargs: dict, out: Tensor) -> int:
    return args[0].numel() * math.prod(args[1].shape[1:])


def _any_convolution(args: tuple, kwargs: dict, out: Tensor) -> int:
    return (_transposed_convolution if args[6] else _convolution)(args, kwargs, out)


def _product(left: int) -> Formula:
    """Matrix product whose left factor is argument `left` and whose contracted axis is that factor's last."""

    def macs(args: tuple, kwargs: dict, out: Tensor) -> int:
        return out.numel() * args[left].shape[-1]

    return macs


def _attention(args: tuple, kwargs: dict, out: Tensor) -> int:
    query, key, value = args[:3]
    scores = math.prod(query.shape[:-1]) * key.shape[-2]
    return scores * (query.shape[-1] + value.shape[-1])


def _einsum(args: tuple, kwargs: dict, out: Tensor) -> int:
    """Output elements times the contracted extents; 0 where nothing is contracted (a product, no sum)."""
    terms = args[0].replace(" ", "").split("->")
    inputs = terms[0].split(",")
    letters = "".join(inputs)
    kept = terms[1] if len(terms) == 2 else {letter for letter in letters if letters.count(letter) == 1}
    contracted = {}
    for term, operand in zip(inputs, args[1], strict=True):
        head, _, tail = term.partition("...")
        extents = [*zip(head, operand.shape), *zip(reversed(tail), reversed(operand.shape))]  # noqa: B905
        contracted |= {letter: extent for letter, extent in extents if letter not in kept}
    return out.numel() * math.prod(contracted.values()) if contracted else 0


def _normalisation(weight: int) -> Formula:
    def macs(args: tuple, kwargs: dict, out: Any) -> int:
        return args[0].numel() * (NORMALISED if _argument(args, weight) is not None else NORMALISED - 1)

    return macs


def _batch_norm(args: tuple, kwargs: dict, out: Tensor) -> int:
    if args[5]:
        return _normalisation(1)(args, kwargs, out)
    affine = _argument(args, 1) is not None
    return args[0].numel() * (NORMALISED_BY_CONSTANTS if affine else NORMALISED_BY_CONSTANTS - 1)


def _per_output(count: int) -> Formula:
    def macs(args: tuple, kwargs: dict, out: Tensor) -> int:
        return out.numel() * count

    return macs


def _deformable_attention(args: tuple, kwargs: dict, out: Tensor) -> int:
    value, _, locations = args[:3]
    return ms_deform_attn_multiply_adds(locations.shape, value.shape[3])


def _deformable_attention_of_points(args: tuple, kwargs: dict, out: Tensor) -> int:
    return ms_deform_attn_multiply_adds(args[3].shape, args[0].shape[3])


def _per_input(args: tuple, kwargs: dict, out: Tensor) -> int:
    return args[0].numel()


FORMULAS: dict[str, tuple[str, Formula]] = {
    "aten::conv1d": ("conv", _convolution),
    "aten::conv2d": ("conv", _convolution),
    "aten::conv3d": ("conv", _convolution),
    "aten::conv_transpose1d": ("conv", _transposed_convolution),
    "aten::conv_transpose2d": ("conv", _transposed_convolution),
    "aten::conv_transpose3d": ("conv", _transposed_convolution),
    "aten::convolution": ("conv", _any_convolution),
    "aten::linear": ("linear", _product(0)),
    "aten::addmm": ("addmm", _product(1)),
    "aten::mm": ("mm", _product(0)),
    "aten::mv": ("mv", _product(0)),
    "aten::dot": ("dot", _product(0)),
    "aten::bmm": ("bmm", _product(0)),
    "aten::baddbmm": ("baddbmm", _product(1)),
    "aten::matmul": ("matmul", _product(0)),
    "aten::einsum": ("einsum", _einsum),
    "aten::scaled_dot_product_attention": ("scaled_dot_product_attention", _attention),
    "maskbench::ms_deform_attn": ("ms_deform_attn", _deformable_attention),
    "maskbench::ms_deform_attn_points": ("ms_deform_attn", _deformable_attention_of_points),
    "aten::layer_norm": ("layer_norm", _normalisation(2)),
    "aten::native_layer_norm": ("layer_norm", _normalisation(2)),
    "aten::group_norm": ("group_norm", _normalisation(2)),
    "aten::native_group_norm": ("group_norm", _normalisation(1)),
    "aten::instance_norm": ("instance_norm", _normalisation(1)),
    "aten::batch_norm": ("batch_norm", _batch_norm),
    "aten::upsample_nearest2d": ("upsample_nearest2d", _per_output(1)),
    "aten::upsample_linear1d": ("upsample_linear1d", _per_output(LINEAR)),
    "aten::upsample_bilinear2d": ("upsample_bilinear2d", _per_output(BILINEAR)),
    "aten::upsample_bicubic2d": ("upsample_bicubic2d", _per_output(BICUBIC)),
    "aten::grid_sampler": ("grid_sampler", _per_output(BILINEAR)),
    "aten::adaptive_avg_pool2d": ("adaptive_avg_pool2d", _per_input),
}


def known(op: str, args: tuple) -> bool:
    """Whether this call has a formula or counts 0. An einsum of other than two tensors is made of others."""
    if op == "aten::einsum":
        return len(args[1]) == 2
    return op in FORMULAS or op in FREE


_AFFINE = {"conv": 2, "linear": 2, "layer_norm": 2, "group_norm": 2, "instance_norm": 1, "batch_norm": 1}
_AFFINE_OF = {"aten::native_group_norm": 1}  # where the spelling has its weight elsewhere than the family


def cost(op: str, args: tuple, kwargs: dict, out: Any) -> Cost | None:
    """What the call costs; None where the operator is unknown. Shapes are read, values never."""
    if op in FREE:
        return Cost(op.removeprefix("aten::").rstrip("_"), 0, inputs=_elements(args), outputs=_elements(out))
    if op not in FORMULAS:
        return None
    family, formula = FORMULAS[op]
    index = _AFFINE_OF.get(op, _AFFINE.get(family))
    return Cost(
        family,
        formula(args, kwargs, out),
        note=args[0] if family == "einsum" else "",
        inputs=_elements(args),
        outputs=_elements(out),
        affine=index is not None and _argument(args, index) is not None,
    )


def _elements(value: Any) -> int:
    """Elements of the first tensor among arguments or results."""
    found = value if isinstance(value, (tuple, list)) else (value,)
    return next((item.numel() for item in found if isinstance(item, Tensor)), 0)
