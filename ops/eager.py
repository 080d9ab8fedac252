"""When a shortcut for plain inference may stand in for the readable formulation."""

from __future__ import annotations

import torch
from torch import Tensor


def is_traced() -> bool:
    """Whether torch.compile, torch.export or a tracer records what runs: it is to see the formulation."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()


def is_cpu_inference(tensor: Tensor) -> bool:
    """Whether code runs on the CPU as written, step by step and without gradients."""
    return tensor.device.type == "cpu" and not torch.is_grad_enabled() and not is_traced()
