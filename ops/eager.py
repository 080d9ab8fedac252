"""When a shortcut for plain inference may stand in for the readable formulation."""

from __future__ import annotations

import torch
from torch import Tensor


def is_cpu_inference(tensor: Tensor) -> bool:
    """Whether code runs on the CPU as written, step by step and without gradients.

    Not under torch.compile, torch.export or a tracer: what they record is to be the formulation itself.
    """
    return (
        tensor.device.type == "cpu"
        and not torch.is_grad_enabled()
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
    )
