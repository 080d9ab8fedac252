"""What every system checks of the images that it is given."""

from __future__ import annotations

from torch import Tensor


def check_images(images: Tensor, divisor: int = 1) -> None:
    """Checks a batch of normalised images, whose height and width must be multiples of `divisor`.

    Raises:
        ValueError: not [B, 3, H, W], not floating point, or another size (`models.inference.pad_to_multiple`
            pads).
    """
    if images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(f"images of shape {tuple(images.shape)}: expected [B, 3, H, W]")
    if not images.is_floating_point():
        raise ValueError(f"images of {images.dtype}: expected floating point, normalised")
    if images.shape[-2] % divisor or images.shape[-1] % divisor:
        raise ValueError(
            f"images of {tuple(images.shape[-2:])}: height and width must be multiples of {divisor}"
        )
