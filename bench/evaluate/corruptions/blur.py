"""The four blurs. Pictures are float [H, W, C] in [0, 1]; beyond their border they are continued."""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage, signal

Array = np.ndarray


def gaussian(picture: Array, rng: np.random.Generator, sigma: float) -> Array:
    """A Gaussian of `sigma` pixels."""
    return smooth(picture, sigma)


def defocus(picture: Array, rng: np.random.Generator, radius: int, alias: float) -> Array:
    """A disk of `radius` pixels whose rim is smoothed by a small Gaussian of `alias` pixels."""
    reach = max(8, radius)
    steps = np.arange(-reach, reach + 1)
    disk = (steps[:, None] ** 2 + steps**2 <= radius**2).astype(np.float64)
    taps = np.arange(-1, 2) if radius <= 8 else np.arange(-2, 3)
    weights = np.exp(-(taps**2) / (2 * alias**2))
    for axis in range(2):
        disk = ndimage.convolve1d(disk, weights / weights.sum(), axis, mode="mirror")
    padded = np.pad(picture, ((reach, reach), (reach, reach), (0, 0)), mode="reflect")
    return signal.fftconvolve(padded, (disk / disk.sum())[..., None], mode="valid", axes=(0, 1))


def glass(picture: Array, rng: np.random.Generator, sigma: float, distance: int, iterations: int) -> Array:
    """Each pixel changes places with one at most `distance` away, between two small Gaussians.

    ImageNet-C visits the pixels row by row, one after the other; here those that are 2 * distance + 1 apart
    change places at once, since none can meet another, and the groups follow in a random order.
    """
    picture = np.round(smooth(picture, sigma) * 255) / 255
    height, width = picture.shape[:2]
    places = np.arange(height * width).reshape(height, width)
    step = 2 * distance + 1
    for _ in range(iterations):
        for group in rng.permutation(step * step):
            rows, columns = np.meshgrid(
                np.arange(distance + group // step, height - distance, step),
                np.arange(distance + group % step, width - distance, step),
                indexing="ij",
            )
            others = rows + _moves(rng, distance, rows), columns + _moves(rng, distance, rows)
            places[rows, columns], places[others] = places[others], places[rows, columns].copy()
    return smooth(picture.reshape(height * width, -1)[places], sigma)


def motion(picture: Array, rng: np.random.Generator, radius: int, sigma: float) -> Array:
    """A movement within 45 degrees of the horizontal; see `along`."""
    return along(picture, radius, sigma, rng.uniform(-45, 45))


def along(picture: Array, radius: int, sigma: float, angle: float) -> Array:
    """The mean over 2 * radius + 1 steps in the direction `angle` (degrees), weighted with half a Gaussian of
    `sigma` steps that starts at the pixel itself."""
    weights = np.exp(-(np.arange(2 * radius + 1) ** 2) / (2 * sigma**2))
    weights /= weights.sum()
    down, right = math.sin(math.radians(angle)), math.cos(math.radians(angle))
    reach = len(weights)
    edges = ((reach, reach), (reach, reach)) + ((0, 0),) * (picture.ndim - 2)
    padded, total = np.pad(picture, edges, mode="edge"), np.zeros_like(picture)
    for step, weight in enumerate(weights):
        top, left = (reach + math.ceil(step * way - 0.5) for way in (down, right))
        total += weight * padded[top : top + picture.shape[0], left : left + picture.shape[1]]
    return total


def smooth(picture: Array, sigma: float) -> Array:
    """A Gaussian over rows and columns."""
    return ndimage.gaussian_filter(picture, sigma, axes=(0, 1), mode="nearest")


def _moves(rng: np.random.Generator, distance: int, like: Array) -> Array:
    return rng.integers(-distance, distance, like.shape)
