"""What the criteria share: matched pairs as rows, and counts that are averaged over the processes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from models.matching.base import Match
from models.outputs import MaskTarget


def matched_rows(
    matches: Sequence[Match], targets: Sequence[MaskTarget], queries: int
) -> tuple[Tensor, Tensor]:
    """Matched pairs [M], image by image in query order, as rows of predictions [B*Q] and of concatenated
    targets [sum N]."""
    predicted, truth, first = [], [], 0
    for image, (target, (rows, columns)) in enumerate(zip(targets, matches, strict=True)):
        predicted.append(rows + image * queries)
        truth.append(columns + first)
        first += len(target.labels)
    return torch.cat(predicted), torch.cat(truth)


def matched_labels(
    matches: Sequence[Match], targets: Sequence[MaskTarget], queries: int, unmatched: int
) -> Tensor:
    """The class [B, Q] that each query is to predict, `unmatched` for those without a target."""
    predicted, truth = matched_rows(matches, targets, queries)
    labels = torch.full((len(targets) * queries,), unmatched, dtype=torch.int64, device=predicted.device)
    labels[predicted] = torch.cat([target.labels for target in targets])[truth]
    return labels.view(len(targets), queries)


def class_weights(
    targets: Sequence[MaskTarget], queries: int, no_object: float, device: torch.device | str
) -> float:
    """The weights of all queries of a batch in `softmax_class_loss`, 1 for each that is matched, added up and
    averaged over the processes of the default group."""
    matched = sum(min(len(target.labels), queries) for target in targets)
    return _over_processes(matched + no_object * (len(targets) * queries - matched), device)


def mean_count(count: float, device: torch.device | str) -> float:
    """A process's count, averaged over the processes of the default group, at least 1."""
    return max(_over_processes(count, device), 1.0)


def _over_processes(count: float, device: torch.device | str) -> float:
    if dist.is_available() and dist.is_initialized():
        total = torch.tensor(float(count), device=device)
        dist.all_reduce(total)
        return total.item() / dist.get_world_size()
    return float(count)


def at_pixels(logits: Tensor, masks: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Values and labels [M, H * W] of [M, h, w], brought to the size of the targets, and of the `rows` [M] of
    masks [N, H, W]."""
    size = masks.shape[-2:]
    values = F.interpolate(logits[:, None], size=size, mode="bilinear", align_corners=False)
    return values.flatten(1), masks[rows].flatten(1).to(logits.dtype)


def check_targets(
    targets: Sequence[MaskTarget],
    predictions: int,
    num_classes: int,
    size: Sequence[int] | None = None,
) -> None:
    """Checks the targets of a batch of `predictions` images; `size` (h, w) is that of the predicted masks.

    Raises:
        ValueError: another number of targets, shapes or types that do not fit, masks of different sizes or
            not of the images', or a label outside 0..K-1.
    """
    if len(targets) != predictions:
        raise ValueError(f"{predictions} predictions but {len(targets)} targets")
    for image, target in enumerate(targets):
        _check_target(target, f"target {image}")
        if target.masks.shape[1:] != targets[0].masks.shape[1:]:
            sizes = f"{tuple(target.masks.shape[1:])} and {tuple(targets[0].masks.shape[1:])}"
            raise ValueError(f"target masks of different sizes in one batch: {sizes}; pad them as the images")
    if targets and size is not None and not _has_stride(tuple(targets[0].masks.shape[1:]), tuple(size)):
        raise ValueError(
            f"target masks of {tuple(targets[0].masks.shape[1:])} for predicted masks of {tuple(size)}: they "
            "must have the size of the padded images"
        )
    labels = torch.cat([target.labels for target in targets])
    outside = (labels < 0) | (labels >= num_classes)
    if bool(outside.any()):
        raise ValueError(f"target label {labels[outside][0].item()} is outside 0..{num_classes - 1}")


def _check_target(target: MaskTarget, name: str) -> None:
    labels, masks = target.labels, target.masks
    if labels.ndim != 1 or masks.ndim != 3 or len(masks) != len(labels):
        shapes = f"labels {tuple(labels.shape)}, masks {tuple(masks.shape)}"
        raise ValueError(f"{name}: expected labels [N] and masks [N, H, W], got {shapes}")
    if labels.dtype != torch.int64:
        raise ValueError(f"{name}: labels must be int64, not {_type(labels)}")
    if masks.dtype not in (torch.bool, torch.uint8):
        raise ValueError(f"{name}: masks must be bool, or uint8 of 0 and 1, not {_type(masks)}")
    if masks.dtype == torch.uint8 and masks.numel() and int(masks.max()) > 1:
        raise ValueError(f"{name}: masks of uint8 must hold 0 and 1, not {int(masks.max())}")


def _type(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _has_stride(whole: Sequence[int], small: Sequence[int]) -> bool:
    """Whether maps of one size (height, width) are those of the other at a stride, the same for both axes."""
    return any(
        all(
            length // stride <= part <= -(-length // stride)
            for length, part in zip(whole, small, strict=True)
        )
        for stride in range(1, 65)
    )
