"""Mixed precision: which number format a run computes in, and what stops it when numbers leave that
format."""

import torch
from torch import Tensor

from bench.errors import UserError


class NonFiniteLoss(UserError):
    """A loss, prediction or gradient is NaN or infinite; the message names it and the step."""


def amp_dtype(amp: str, device: torch.device) -> torch.dtype | None:
    """The autocast format that `TrainSpec.amp` means on `device`; None for plain float32.

    Raises UserError for a format that was asked for where the device does not have it.
    """
    if amp == "off" or (amp == "auto" and device.type != "cuda"):
        return None
    if amp == "auto":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    if amp == "fp16" and device.type != "cuda":
        raise UserError(
            f"amp = fp16 needs a CUDA device, this run is on {device.type}; set train.amp to auto or off"
        )
    return {"bf16": torch.bfloat16, "fp16": torch.float16}[amp]


def require_finite(tensors: dict[str, Tensor], step: int) -> None:
    """Raises NonFiniteLoss naming the first of `tensors` that holds a NaN or an infinity.

    One value is read from the device, not one a tensor.
    """
    finite = torch.stack([torch.isfinite(tensor.detach()).all() for tensor in tensors.values()])
    if finite.all():
        return
    name, tensor = next((n, t) for n, t in tensors.items() if not torch.isfinite(t).all())
    kind = "NaN" if torch.isnan(tensor).any() else "infinite"
    raise NonFiniteLoss(f"step {step}: {name} is {kind}")
