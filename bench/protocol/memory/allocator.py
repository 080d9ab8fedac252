"""The blocks that PyTorch's CUDA caching allocator takes from the device and keeps.

What nvidia-smi shows of a process is these and a CUDA context. The rules are those of PyTorch's notes on CUDA
memory and of its allocator's constants, which have not changed since 1.0; one stream, no limit that would
make it give anything back.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass

MIB = 2**20
BLOCK = 512
"""Every request is rounded up to blocks of so many bytes."""

_SMALL = MIB  # requests up to here are cut from segments of 2 MiB
_SMALL_SEGMENT = 2 * MIB
_LARGE_SEGMENT = 20 * MIB  # of requests up to 10 MiB; larger ones are rounded up to 2 MiB
_OWN_SEGMENT = 10 * MIB


@dataclass(eq=False)
class Block:
    """A part of a segment: in use or free, with its neighbours in the segment."""

    address: int
    size: int
    small: bool
    before: Block | None = None
    after: Block | None = None
    free: bool = False


class CachingAllocator:
    """Follows requests and returns; `reserved` are the bytes taken from the device, which never shrink."""

    def __init__(self) -> None:
        self.reserved = 0
        self._free: dict[bool, list[tuple[int, int]]] = {True: [], False: []}  # size and address, sorted
        self._at: dict[int, Block] = {}  # free blocks by address

    def allocate(self, size: int) -> Block:
        """The smallest free block that holds `size` bytes, or one of a new segment; the rest is cut off."""
        size = max(BLOCK, -(-size // BLOCK) * BLOCK)
        small = size <= _SMALL
        block = self._best_fit(size, small) or self._segment(size, small)
        rest = block.size - size
        if rest >= BLOCK if small else rest > _SMALL:
            after = Block(block.address + size, rest, small, before=block, after=block.after)
            if block.after is not None:
                block.after.before = after
            block.after, block.size = after, size
            self._keep(after)
        return block

    def release(self, block: Block) -> None:
        """Gives a block back and joins it with free neighbours."""
        before, after = block.before, block.after
        if after is not None and after.free:
            self._take(after)
            _join(block, after)
        if before is not None and before.free:
            self._take(before)
            _join(before, block)
            block = before
        self._keep(block)

    def _best_fit(self, size: int, small: bool) -> Block | None:
        sizes = self._free[small]
        place = bisect_left(sizes, (size, -1))
        if place == len(sizes):
            return None
        block = self._at[sizes[place][1]]
        self._take(block)
        return block

    def _segment(self, size: int, small: bool) -> Block:
        if small:
            length = _SMALL_SEGMENT
        else:
            length = _LARGE_SEGMENT if size < _OWN_SEGMENT else -(-size // _SMALL_SEGMENT) * _SMALL_SEGMENT
        block = Block(self.reserved, length, small)
        self.reserved += length
        return block

    def _keep(self, block: Block) -> None:
        block.free = True
        self._at[block.address] = block
        insort(self._free[block.small], (block.size, block.address))

    def _take(self, block: Block) -> None:
        block.free = False
        del self._at[block.address]
        sizes = self._free[block.small]
        sizes.pop(bisect_left(sizes, (block.size, block.address)))


def _join(first: Block, second: Block) -> None:
    """Makes `first` of two neighbours both."""
    first.size += second.size
    first.after = second.after
    if second.after is not None:
        second.after.before = first
