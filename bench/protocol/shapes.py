"""What the commonest operators give on `meta` tensors, from the shapes of their arguments alone.

PyTorch's own shape functions are Python programs that take most of the time of a count. A result here is what
theirs is, up to strides, which count nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

Shape = Sequence[int]


def _same(tensor: Tensor, *rest: Any) -> Shape:
    return tensor.shape


def _linear(tensor: Tensor, weight: Tensor, bias: Tensor | None = None) -> Shape:
    return (*tensor.shape[:-1], weight.shape[0])


def _attention(query: Tensor, key: Tensor, value: Tensor, *rest: Any) -> Shape:
    return (*query.shape[:-1], value.shape[-1])


def _resized(tensor: Tensor, size: Sequence[int] | None, *rest: Any) -> Shape | None:
    return None if size is None else (*tensor.shape[:2], *size)


def _both(tensor: Tensor, other: Any) -> Shape | None:
    """Of two tensors of one shape, or a tensor and a number."""
    if isinstance(other, Tensor):
        return tensor.shape if other.shape == tensor.shape else None
    return tensor.shape


_SHAPES: dict[str, Callable[..., Shape | None]] = {
    "aten::linear": _linear,
    "aten::scaled_dot_product_attention": _attention,
    "aten::layer_norm": _same,
    "aten::batch_norm": _same,
    "aten::group_norm": _same,
    "aten::relu": _same,
    "aten::gelu": _same,
    "aten::upsample_bilinear2d": _resized,
    "aten::add": _both,
    "aten::mul": _both,
}
_ONE_KIND = ("aten::add", "aten::mul")
_KEYWORDS: dict[str, frozenset[str]] = {
    "aten::scaled_dot_product_attention": frozenset({"attn_mask", "scale", "dropout_p"}),
    "aten::gelu": frozenset({"approximate"}),
}


def result(name: str, args: tuple, kwargs: dict) -> Tensor | None:
    """A new tensor like the one that the operator gives; None where PyTorch must be asked."""
    shape = _SHAPES.get(name)
    if shape is None or not kwargs.keys() <= _KEYWORDS.get(name, frozenset()):
        return None
    first = args[0] if args else None
    if not isinstance(first, Tensor) or not first.is_meta or not first.is_floating_point():
        return None
    if name in _ONE_KIND and any(isinstance(a, Tensor) and a.dtype != first.dtype for a in args):
        return None
    try:
        found = shape(*args)
    except TypeError:  # arguments that these functions do not expect
        return None
    return None if found is None else first.new_empty(found)
