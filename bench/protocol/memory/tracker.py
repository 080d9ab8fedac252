"""The bytes of all live storages, followed while tensor operators run."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from bench.protocol.memory.allocator import BLOCK, CachingAllocator
from bench.protocol.tape import tensors


class Tracker(TorchDispatchMode):
    """Counts every storage that an operator makes from its birth until nothing holds it any more.

    Views share their storage and count once. What autograd saves is held by its graph, so it counts until the
    backward pass has used it. Storages that exist before the tracker runs count once `adopt`ed. Memory that
    an operator takes and gives back inside itself is not seen.

    Attributes:
        live: bytes now, each storage rounded up to blocks of the allocator.
        peaks: the most that were live at once, by phase.
        allocator: what PyTorch's allocator would have taken from the device for all this.
    """

    def __init__(self) -> None:
        super().__init__()
        self.live = 0
        self.peaks: dict[str, int] = {}
        self.allocator = CachingAllocator()
        self._phase = ""
        self._held: dict[int, tuple[weakref.ref, int]] = {}

    def adopt(self, tree: Any) -> int:
        """Counts the storages of the tensors in nested lists, tuples and dicts; returns the bytes added."""
        before = self.live
        for tensor in tensors(tree):
            self._see(tensor.untyped_storage())
        return self.live - before

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """What runs within belongs to the phase `name`."""
        outer, self._phase = self._phase, name
        self._note()
        try:
            yield
        finally:
            self._phase = outer

    @property
    def peak(self) -> int:
        """The most bytes that were live at once in any phase."""
        return max(self.peaks.values(), default=0)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tensors(result):
            self._see(tensor.untyped_storage())
        return result

    def _see(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key in self._held or not storage.nbytes():
            return
        size = -(-storage.nbytes() // BLOCK) * BLOCK
        block = self.allocator.allocate(size)

        def free(_: weakref.ref) -> None:
            del self._held[key]
            self.live -= size
            self.allocator.release(block)

        self._held[key] = weakref.ref(storage, free), size
        self.live += size
        self._note()

    def _note(self) -> None:
        self.peaks[self._phase] = max(self.peaks.get(self._phase, 0), self.live)
