"""The four kinds of noise; each value of a picture, float [H, W, 3] in [0, 1], gets its own."""

from __future__ import annotations

import numpy as np

Array = np.ndarray


def gaussian(picture: Array, rng: np.random.Generator, scale: float) -> Array:
    """Normal noise of standard deviation `scale`."""
    return picture + rng.normal(0, scale, picture.shape)


def shot(picture: Array, rng: np.random.Generator, photons: float) -> Array:
    """Poisson noise of a picture whose white is `photons` events."""
    return rng.poisson(picture * photons) / photons


def impulse(picture: Array, rng: np.random.Generator, amount: float) -> Array:
    """A share `amount` of the values is black or white, as often the one as the other."""
    hit, white = rng.random(picture.shape) < amount, rng.random(picture.shape) < 0.5
    return np.where(hit, white, picture)


def speckle(picture: Array, rng: np.random.Generator, scale: float) -> Array:
    """Normal noise of standard deviation `scale` times the value."""
    return picture + picture * rng.normal(0, scale, picture.shape)
