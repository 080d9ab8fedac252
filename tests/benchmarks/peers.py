"""Other implementations of multi-scale deformable attention, called like ours. For development only."""

import importlib.util
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

Operator = Callable[[Tensor, Sequence[tuple[int, int]], Tensor, Tensor], Tensor]


def grid_sample(
    value: Tensor, shapes: Sequence[tuple[int, int]], locations: Tensor, weights: Tensor
) -> Tensor:
    """The formulation in plain PyTorch: a call of the bilinear sampler per level, one weighted sum."""
    batch, _, heads, channels = value.shape
    queries, points = locations.shape[1], locations.shape[3] * locations.shape[4]
    samples = []
    for level, part in enumerate(value.split([height * width for height, width in shapes], dim=1)):
        image = part.flatten(2).transpose(1, 2).reshape(batch * heads, channels, *shapes[level])
        grid = (2 * locations[:, :, :, level] - 1).transpose(1, 2).flatten(0, 1)
        samples.append(F.grid_sample(image, grid, align_corners=False))
    weights = weights.transpose(1, 2).reshape(batch * heads, 1, queries, points)
    output = (torch.stack(samples, dim=-2).flatten(-2) * weights).sum(-1)
    return output.view(batch, heads * channels, queries).transpose(1, 2).contiguous()


def peers() -> dict[str, Operator]:
    """What is installed here, by name."""
    found: dict[str, Operator] = {"grid_sample": grid_sample}
    if importlib.util.find_spec("torch_ms_deform_attn"):
        found["torch-ms-deform-attn"] = _torch_ms_deform_attn
    return found


def _torch_ms_deform_attn(
    value: Tensor, shapes: Sequence[tuple[int, int]], locations: Tensor, weights: Tensor
) -> Tensor:
    from torch_ms_deform_attn import ms_deform_attn

    sizes, starts = _LEVELS.setdefault((tuple(shapes), value.device), _levels(shapes, value.device))
    return ms_deform_attn(value, sizes, starts, locations, weights, 64)


_LEVELS: dict[object, tuple[Tensor, Tensor]] = {}


def _levels(shapes: Sequence[tuple[int, int]], device: torch.device) -> tuple[Tensor, Tensor]:
    sizes = torch.tensor(shapes, device=device)
    areas = sizes.prod(1)
    return sizes, areas.cumsum(0) - areas
