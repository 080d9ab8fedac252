"""Snow, fog and spatter; frost is in `frost.py`. Pictures are float [H, W, 3] in [0, 1]."""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage

from bench.evaluate.corruptions.blur import along, smooth

Array = np.ndarray
_GREY = np.array([0.299, 0.587, 0.114])
_WATER, _MUD = np.array([175, 238, 238]) / 255, np.array([63, 42, 20]) / 255


def snow(
    picture: Array,
    rng: np.random.Generator,
    mean: float,
    scale: float,
    zoom: float,
    threshold: float,
    radius: int,
    sigma: float,
    kept: float,
) -> Array:
    """Flakes (normal noise above `threshold`, enlarged by `zoom`, drawn out downwards), once as they are and
    once upside down, on a picture that is whitened by the share 1 - `kept`."""
    height, width = picture.shape[:2]
    flakes = rng.normal(mean, scale, (height, width))
    inner = math.ceil(height / zoom), math.ceil(width / zoom)
    top, left = (height - inner[0]) // 2, (width - inner[1]) // 2
    flakes = ndimage.zoom(flakes[top : top + inner[0], left : left + inner[1]], zoom, order=1)
    flakes = np.clip(np.where(flakes < threshold, 0, flakes), 0, 1)
    flakes = along(flakes, radius, sigma, rng.uniform(-135, -45))[:height, :width]
    flakes = np.round(flakes * 255)[..., None] / 255
    pale = np.maximum(picture, (picture @ _GREY)[..., None] * 1.5 + 0.5)
    return kept * picture + (1 - kept) * pale + flakes + flakes[::-1, ::-1]


def fog(picture: Array, rng: np.random.Generator, amount: float, decay: float) -> Array:
    """A plasma fractal times `amount` is added, and all scaled back to the picture's brightness."""
    height, width = picture.shape[:2]
    brightest = picture.max()
    cloud = plasma(rng, max(picture.shape), decay)[:height, :width, None]
    return (picture + amount * cloud) * brightest / (brightest + amount)


def plasma(rng: np.random.Generator, size: int, decay: float) -> Array:
    """A square of at least `size` values in [0, 1] by the diamond-square algorithm, which repeats itself at
    the borders. The noise of a step is uniform in plus or minus w^2; w is 100 and falls by `decay` a step."""
    grid, wobble = np.zeros((1, 1)), 100.0

    def around(*neighbours: Array) -> Array:
        noise = rng.uniform(-wobble, wobble, neighbours[0].shape)
        return sum(neighbours) / 4 + wobble * noise

    while len(grid) < size:
        below, right = np.roll(grid, -1, 0), np.roll(grid, -1, 1)
        centre = around(grid, below, right, np.roll(below, -1, 1))
        upper = around(grid, right, centre, np.roll(centre, 1, 0))  # between two that are side by side
        left = around(grid, below, centre, np.roll(centre, 1, 1))  # between two, one above the other
        finer = np.empty((2 * len(grid),) * 2)
        finer[::2, ::2], finer[::2, 1::2], finer[1::2, ::2], finer[1::2, 1::2] = grid, upper, left, centre
        grid, wobble = finer, wobble / decay
    grid = grid - grid.min()
    return grid / grid.max()


def spatter(
    picture: Array,
    rng: np.random.Generator,
    mean: float,
    scale: float,
    sigma: float,
    threshold: float,
    strength: float,
    mud: bool,
) -> Array:
    """Drops where smoothed normal noise exceeds `threshold`: of water, whose rims shine, or of mud."""
    liquid = smooth(rng.normal(mean, scale, picture.shape[:2]), sigma)
    liquid[liquid < threshold] = 0
    if mud:
        cover = smooth((liquid > threshold).astype(np.float64), strength)
        cover = np.where(cover < 0.8, 0, cover)[..., None]
        return picture * (1 - cover) + cover * _MUD
    shine = np.floor(liquid * 255) * _relief(np.floor(liquid * 255))
    return picture + strength * shine[..., None] / max(shine.max(), 1e-12) * _WATER


def _relief(drops: Array) -> Array:
    """How drops [H, W] (0 to 255) shine, 0 to 255: the distance to their rims, its histogram equalised, lit
    from the upper left."""
    far = ndimage.distance_transform_edt(~_rims(drops))
    far = np.floor(ndimage.uniform_filter(np.minimum(far, 20), 3, mode="mirror")).astype(np.int64)
    steps = np.bincount(far.ravel(), minlength=256).cumsum()
    first = steps[steps > 0][0]
    even = np.round((steps - first) / max(1, far.size - first) * 255)[far]
    light = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])
    lit = np.clip(ndimage.correlate(even, light, mode="mirror"), 0, 255)
    return ndimage.uniform_filter(lit, 3, mode="mirror")


def _rims(drops: Array) -> Array:
    """Canny's edges [H, W] (bool) with the thresholds 50 and 150: ridges of the gradient above 50 that hang
    together with one above 150."""
    across, down = ndimage.sobel(drops, 1, mode="nearest"), ndimage.sobel(drops, 0, mode="nearest")
    steep = np.abs(across) + np.abs(down)
    padded = np.pad(steep, 1)
    sector = np.round(np.arctan2(down, across) / (np.pi / 4)).astype(np.int64) % 4
    ridge = np.zeros(steep.shape, dtype=bool)
    for number, (dy, dx) in enumerate(((0, 1), (1, 1), (1, 0), (1, -1))):
        one, other = (
            padded[1 + sign * dy :, 1 + sign * dx :][: steep.shape[0], : steep.shape[1]] for sign in (1, -1)
        )
        ridge |= (sector == number) & (steep > one) & (steep >= other)
    parts, count = ndimage.label(ridge & (steep > 50), np.ones((3, 3)))
    strong = np.unique(parts[ridge & (steep > 150)])
    return np.isin(parts, strong[strong > 0])
