"""AdamW with the parameter groups of the released trainings.

The backbone learns slower, and with deformable attention in DETR's line the sampling offsets and reference
points, too: `TrainSpec.slow` names them. As in Mask2Former's `build_optimizer` (train_net.py), norm layers,
embeddings and tables of positional biases are not decayed; linear and convolution biases are, and so is the
pixel decoder's level embedding: it is a bare parameter there. DETR and Panoptic SegFormer decay everything
(`TrainSpec.decay_all`).
"""

from collections.abc import Iterator

import torch
from torch import nn

from bench.train.spec import TrainSpec

_NORMS = (
    nn.modules.batchnorm._BatchNorm,
    nn.GroupNorm,
    nn.LayerNorm,
    nn.LocalResponseNorm,
    nn.RMSNorm,
    nn.modules.instancenorm._InstanceNorm,
)
_UNDECAYED_NAMES = ("relative_position_bias_table", "absolute_pos_embed")


def parameter_settings(model: nn.Module, spec: TrainSpec) -> Iterator[tuple[str, nn.Parameter, float, float]]:
    """Yields (name, parameter, learning rate, weight decay) for every parameter that is trained.

    A parameter that several modules share appears once, under its first name.
    """
    seen: set[nn.Parameter] = set()
    for module_name, module in model.named_modules():
        undecayed_module = isinstance(module, (*_NORMS, nn.Embedding))
        for leaf, parameter in module.named_parameters(recurse=False):
            if parameter in seen or not parameter.requires_grad:
                continue
            seen.add(parameter)
            name = f"{module_name}.{leaf}" if module_name else leaf
            slow = not set(spec.slow).isdisjoint(name.split("."))
            undecayed = not spec.decay_all and (undecayed_module or leaf in _UNDECAYED_NAMES)
            rate = spec.lr * (spec.backbone_lr_factor if slow else 1.0)
            yield name, parameter, rate, 0.0 if undecayed else spec.weight_decay


def build_optimizer(model: nn.Module, spec: TrainSpec) -> torch.optim.AdamW:
    """AdamW (betas 0.9, 0.999, eps 1e-8), one group for each pair of learning rate and weight decay.

    Each group carries `base_lr`, which `set_learning_rate` multiplies. Raises ValueError if nothing can be
    trained.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for _, parameter, rate, decay in parameter_settings(model, spec):
        groups.setdefault((rate, decay), []).append(parameter)
    if not groups:
        raise ValueError("the model has no trainable parameters")
    return torch.optim.AdamW(
        [
            {"params": parameters, "lr": rate, "weight_decay": decay, "base_lr": rate}
            for (rate, decay), parameters in groups.items()
        ],
        lr=spec.lr,
        fused=all(parameter.device.type in ("cpu", "cuda") for parameter in model.parameters()),
    )


def set_learning_rate(optimizer: torch.optim.Optimizer, multiplier: float) -> None:
    """Sets every group's rate to its base rate times `multiplier`."""
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * multiplier
