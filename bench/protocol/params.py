"""Parameters of a model, as the papers count them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from models.spec import Spec


@dataclass(frozen=True)
class ParamCount:
    """Numbers of scalar parameters; buffers (frozen batch norm) are none.

    Attributes:
        total: all of them, the convention of Mask2Former, FASeg, MaskFormer, PFT and DETR.
        trainable: those that require gradients, the convention of Panoptic SegFormer.
        by_part: per top-level child of the model. They add up to `total`: a parameter that two parts share
            counts in the first, one that the model itself holds in "model".
    """

    total: int
    trainable: int
    by_part: dict[str, int]


def count(model: Spec | nn.Module) -> ParamCount:
    """Counts every parameter once. A spec is built on `meta`: it takes no memory."""
    module = model.build(device="meta") if isinstance(model, Spec) else model
    by_part: dict[str, int] = {}
    for name, parameter in module.named_parameters():  # each once, under its first name
        part = name.partition(".")[0] if "." in name else "model"
        by_part[part] = by_part.get(part, 0) + parameter.numel()
    parameters = list(module.parameters())
    return ParamCount(
        total=sum(parameter.numel() for parameter in parameters),
        trainable=sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
        by_part=by_part,
    )
