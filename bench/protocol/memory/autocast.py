"""CUDA's autocast on tensors of the CPU.

The CPU's own autocast has other lists: it leaves softmax and layer norms in half precision, which CUDA runs
and keeps in float32 (twice the memory). The rules below are those of CUDA that matter here, of PyTorch 1.9 to
2.0: since then bilinear resizing, too, is in float32, which the papers' code did not know.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

_FLOAT32 = """
    layer_norm group_norm binary_cross_entropy_with_logits nll_loss smooth_l1_loss l1_loss mse_loss softplus
    exp log pow.Tensor_Scalar rsqrt
"""
"""Inputs are cast to float32."""
_FLOAT32_RESULT = "softmax.int log_softmax.int sum sum.dim_IntList cumsum prod"
"""The result is float32; nothing is copied for it."""
_AS_GIVEN = "upsample_bilinear2d upsample_nearest2d avg_pool2d grid_sampler"
"""No rule on CUDA of that time, or a promotion that changes nothing here; the CPU has one."""

_KEY = "AutocastCPU"
_BELOW = torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastCPU)


@contextmanager
def cuda_autocast(dtype: torch.dtype | None) -> Iterator[None]:
    """Autocast to `dtype` for tensors of the CPU by CUDA's rules; None: nothing."""
    if dtype is None:
        yield
        return
    with cuda_rules(), torch.autocast("cpu", dtype):
        yield


@contextmanager
def cuda_rules() -> Iterator[None]:
    """Within, CPU autocast follows CUDA's rules where it differs."""
    library = torch.library.Library("aten", "IMPL")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # every rule replaces or adds one, which PyTorch tells
        for name in _FLOAT32.split():
            library.impl(name, _in_float32(_overload(name)), _KEY)
        for name in _FLOAT32_RESULT.split():
            library.impl(name, _to_float32(_overload(name)), _KEY)
        for name in _AS_GIVEN.split():
            library.impl(name, torch.library.fallthrough_kernel, _KEY)
    try:
        yield
    finally:
        library._destroy()


def _overload(name: str) -> Any:
    packet, _, overload = name.partition(".")
    return getattr(getattr(torch.ops.aten, packet), overload or "default")


def _in_float32(op: Any) -> Callable[..., Any]:
    def kernel(*args: Any, **kwargs: Any) -> Any:
        with torch._C._ExcludeDispatchKeyGuard(_BELOW):
            return op(*tree_map(_wide, args), **tree_map(_wide, kwargs))

    return kernel


def _to_float32(op: Any) -> Callable[..., Any]:
    def kernel(x: Tensor, *args: Any, **kwargs: Any) -> Any:
        if x.dtype in (torch.float16, torch.bfloat16) and kwargs.get("dtype") is None:
            kwargs["dtype"] = torch.float32
            args = args[:1] if op._schema.name.endswith("softmax") else args
        with torch._C._ExcludeDispatchKeyGuard(_BELOW):
            return op(x, *args, **kwargs)

    return kernel


def _wide(value: Any) -> Any:
    half = isinstance(value, Tensor) and value.dtype in (torch.float16, torch.bfloat16)
    return value.float() if half else value
