"""Point sampling for mask losses (PointRend, section 3.1; Mask2Former, section 3.3).

Points are (x, y) in [0, 1] relative to the whole map, so that one set of points addresses the prediction at
stride 4 and the full-resolution target alike. Values between pixel centres are bilinear; outside the
outermost centres the map is continued by zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

Sampler = Callable[[int, int, torch.device], Tensor]
"""`sampler(masks, points, device)` gives points [masks, points, 2] in [0, 1]."""


def uniform_points(masks: int, points: int, device: torch.device) -> Tensor:
    """Independent uniform points [masks, points, 2], drawn from the device's global generator in one call."""
    return torch.rand(masks, points, 2, device=device)


class ImagePoints:
    """Uniform points that are each image's own: those of an image depend on its seed and on what was drawn
    for it before, not on the rest of the batch, which may thus be computed in any parts and places.

    It is called as any sampler where no image is named, and then draws from the device's global generator.
    """

    def __init__(self) -> None:
        self._seeds: Sequence[int] = ()
        self._generators: dict[tuple[int, torch.device], torch.Generator] = {}

    def start(self, seeds: Sequence[int]) -> None:
        """Begins a batch, image i of which draws from a generator seeded with `seeds[i]`."""
        self._seeds = seeds
        self._generators.clear()

    def __call__(self, masks: int, points: int, device: torch.device) -> Tensor:
        return uniform_points(masks, points, device)

    def of(self, masks: Mapping[int, int]) -> Sampler:
        """The sampler of masks that are `masks[i]` of image i, image after image."""

        def draw(count: int, points: int, device: torch.device) -> Tensor:
            made = torch.empty(count, points, 2, device=device)
            for image, part in zip(masks, made.split(list(masks.values())), strict=True):
                part.uniform_(generator=self._generator(image, made.device))
            return made

        return draw

    def _generator(self, image: int, device: torch.device) -> torch.Generator:
        key = image, device
        if key not in self._generators:
            self._generators[key] = torch.Generator(device).manual_seed(self._seeds[image])
        return self._generators[key]


def of_images(sampler: Sampler, masks: Mapping[int, int]) -> Sampler:
    """`sampler` for masks that are `masks[i]` of image i, image after image; most samplers do not care."""
    return sampler.of(masks) if isinstance(sampler, ImagePoints) else sampler


def sample_points(maps: Tensor, points: Tensor) -> Tensor:
    """Bilinear values of `maps` [N, C, H, W] at `points` [N, P, 2]: [N, C, P], differentiable in `maps`."""
    grid = (points.to(maps.dtype)[:, :, None] * 2.0).sub_(1.0)
    return F.grid_sample(maps, grid, mode="bilinear", padding_mode="zeros", align_corners=False).squeeze(-1)


@torch.no_grad()
def sample_rows(maps: Tensor, rows: Tensor, points: Tensor) -> Tensor:
    """Values of `maps[rows]` at the points of each row; no map is copied if every one of them is wanted.

    Args:
        maps: [N, H, W] float.
        rows: [M] int64, all different.
        points: [M, P, 2].

    Returns:
        [M, P], without gradient.
    """
    if len(rows) < len(maps):
        return sample_points(maps[rows][:, None], points).squeeze(1)
    return sample_points(maps[:, None], points[rows.argsort()]).squeeze(1)[rows]


@torch.no_grad()
def uncertain_points(
    logits: Tensor, points: int, oversample: float, importance: float, sampler: Sampler = uniform_points
) -> Tensor:
    """Points that favour undecided pixels (Mask2Former, section 3.3 "importance sampling"), per mask.

    Of `oversample * points` uniform candidates the `importance * points` with the smallest |logit| are kept;
    the rest is drawn anew.

    Args:
        logits: [N, H, W] float.
        points: points per mask.
        oversample: candidates per point, >= 1.
        importance: fraction of the points chosen by uncertainty, in [0, 1].
        sampler: source of uniform points, called for the candidates first, then for the rest (if any).

    Returns:
        [N, points, 2] in [0, 1].
    """
    count = logits.shape[0]
    chosen = int(importance * points)
    candidates = sampler(count, int(oversample * points), logits.device)
    values = sample_points(logits[:, None], candidates).squeeze(1)
    index = values.abs().topk(chosen, dim=1, largest=False, sorted=False).indices
    kept = candidates.gather(1, index[..., None].expand(-1, -1, 2))
    if chosen == points:
        return kept
    return torch.cat([kept, sampler(count, points - chosen, logits.device)], dim=1)
