"""The image size at which a preset's paper counts FLOPs."""

from __future__ import annotations

_LARGE_BACKBONES = ("swin_b", "swin_l")
_LARGE_TASKS = ("panoptic", "instance")


def paper_size(preset: str) -> tuple[int, int] | None:
    """Height and width, by the preset's name; None where the paper averages over images (COCO) or is silent.

    ADE20K: the short side of testing, 512, or 640 with Swin-B/L and for panoptic and instance models.
    Cityscapes: whole images. Source: the released configurations of Mask2Former, MaskFormer and FASeg.
    """
    if "_cityscapes" in preset:
        return 1024, 2048
    if "_ade20k" in preset:
        large = any(f"_{name}_" in preset for name in _LARGE_BACKBONES) or preset.endswith(_LARGE_TASKS)
        return (640, 640) if large else (512, 512)
    return None
