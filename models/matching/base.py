"""What all matchings share: the cheapest assignment of rows to columns, and reports of non-finite costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

Match = tuple[Tensor, Tensor]
"""Query indices (ascending) and the target index of each, int64 [min(Q, N)] on the predictions' device."""


class NonFiniteError(FloatingPointError):
    """A tensor that must be finite holds NaN or infinity; the message names it."""


def assign(costs: list[Tensor], name: str, inputs: Callable[[int], Mapping[str, Tensor]]) -> list[Match]:
    """The cheapest one-to-one assignment of queries to targets, image by image (DETR, section 3.1).

    Args:
        costs: [Q, N_i] for each image i, all copied to the CPU at once.
        name: how an error message calls the output.
        inputs: the tensors, by name, that the cost of image i was computed from.

    Raises:
        NonFiniteError: a cost is NaN or infinite; the message names the inputs that are.
    """
    matches = []
    for image, (cost, matrix) in enumerate(zip(costs, _to_host(costs), strict=True)):
        if not bool(matrix.isfinite().all()):
            raise NonFiniteError(_blame(f"{name}, image {image}", inputs(image)))
        rows, columns = linear_sum_assignment(matrix.numpy())
        pair = torch.stack([torch.from_numpy(rows), torch.from_numpy(columns)]).to(cost.device)
        matches.append((pair[0], pair[1]))
    return matches


def _to_host(costs: list[Tensor]) -> list[Tensor]:
    """Copies all matrices to the CPU at once, so that the device is waited for once a layer."""
    flat = torch.cat([cost.flatten() for cost in costs]).cpu()
    parts = flat.split([cost.numel() for cost in costs])
    return [part.view(cost.shape) for part, cost in zip(parts, costs, strict=True)]


def _blame(where: str, tensors: Mapping[str, Tensor]) -> str:
    bad = [key for key, tensor in tensors.items() if not bool(tensor.isfinite().all())]
    what = " and ".join(bad) if bad else "the matching cost, from finite predictions,"
    return f"{where}: {what} not finite (NaN or infinity)"
