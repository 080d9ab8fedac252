"""Where half precision is not wanted."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def autocast_disabled(device_type: str) -> AbstractContextManager[object]:
    """Switches autocast off inside, on devices that have it."""
    if torch.amp.is_autocast_available(device_type):
        return torch.autocast(device_type, enabled=False)
    return nullcontext()


def full_precision(x: Tensor) -> Tensor:
    """float16 and bfloat16 to float32; float64 stays."""
    return x if x.dtype == torch.float64 else x.float()


def autocast_as_now(device_type: str) -> Callable[[], AbstractContextManager[object]]:
    """Makes contexts in which autocast is as it is now, for what runs later."""
    if not torch.amp.is_autocast_available(device_type):
        return nullcontext
    dtype, enabled = torch.get_autocast_dtype(device_type), torch.is_autocast_enabled(device_type)
    return lambda: torch.autocast(device_type, dtype=dtype, enabled=enabled)
