"""Random numbers that are the same on every machine and every version of numpy.

numpy promises the stream of a bit generator, not the distributions built on it, so everything here is made
from the raw 64-bit words of Philox 4x64 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

Item = TypeVar("Item")
_MASK = (1 << 64) - 1


class Stream:
    """Numbers that depend on `key` (two integers) alone, in the order of the calls."""

    def __init__(self, *key: int) -> None:
        if len(key) != 2:
            raise ValueError(f"the key has two integers, got {len(key)}")
        self._bits = np.random.Philox(key=np.array([k & _MASK for k in key], dtype=np.uint64))
        self._words: list[int] = []

    def word(self) -> int:
        """A uniform integer in [0, 2^64)."""
        if not self._words:
            self._words = self._bits.random_raw(256).tolist()[::-1]
        return self._words.pop()

    def below(self, n: int) -> int:
        """A uniform integer in [0, n), n < 2^32 (bias below 2^-32)."""
        return ((self.word() >> 32) * n) >> 32

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """A multiple of 2^-53 in [0, 1), stretched to [low, high)."""
        return low + (high - low) * ((self.word() >> 11) * 2.0**-53)

    def chance(self, probability: float) -> bool:
        return self.uniform() < probability

    def choice(self, items: Sequence[Item]) -> Item:
        return items[self.below(len(items))]

    def bytes(self, *shape: int) -> np.ndarray:
        """uint8 array of independent uniform bytes."""
        n = int(np.prod(shape))
        words = self._bits.random_raw((n + 7) // 8).astype("<u8")
        return words.view(np.uint8)[:n].reshape(shape)


def permutation(n: int, *key: int) -> np.ndarray:
    """int64 [n]: a permutation that depends on n and `key` (two integers) alone."""
    bits = np.random.Philox(key=np.array([k & _MASK for k in key], dtype=np.uint64))
    return np.argsort(bits.random_raw(n), kind="stable")


def mix(*parts: int) -> int:
    """63-bit integer that depends on all of `parts`: a seed for a generator (one Philox word a part)."""
    state = 0
    for part in parts:
        key = np.array([state, part & _MASK], dtype=np.uint64)
        state = int(np.random.Philox(key=key).random_raw())
    return state >> 1
