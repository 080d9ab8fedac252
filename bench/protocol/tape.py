"""A tape of the tensor operators a function runs, and which of them its result needs.

The function runs on `meta` tensors under inference mode: no arithmetic is done, and operators such as
`linear`, `einsum` or `layer_norm` arrive whole, as in a TorchScript trace, not as the kernels below them.
Data flow is followed by storage, so views, in-place writes and `out=` need no special case.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from bench.protocol import formulas, shapes


@dataclass(frozen=True, slots=True)
class Entry:
    """One operator call that wrote memory.

    `cost` is None for an operator nobody wrote a formula for. `modules` are the classes of the modules it ran
    in, outermost first. `reads` and `writes` are storages, numbered by first appearance.
    """

    op: str
    cost: formulas.Cost | None
    part: str
    modules: tuple[type[nn.Module], ...]
    reads: frozenset[int]
    writes: frozenset[int]


@dataclass
class Tape:
    """Operator calls in order; `results` are the storages of the value the traced function returned.

    `aside` are those of values that a tool followed as well, though the result does not need them.
    """

    entries: list[Entry] = field(default_factory=list)
    results: frozenset[int] = frozenset()
    aside: frozenset[int] = frozenset()

    def live(self, results: frozenset[int] | None = None) -> list[Entry]:
        """The entries that `results` depend on, in order (dead code elimination, backwards over the tape).

        A write into live memory makes the writer live; it never ends that life, since it may be partial.

        Args:
            results: storages; those of the tape unless given.
        """
        needed = set(self.results if results is None else results)
        kept = []
        for entry in reversed(self.entries):
            if not needed.isdisjoint(entry.writes):
                needed |= entry.reads
                kept.append(entry)
        return kept[::-1]


class Followed(NamedTuple):
    """Values with tensors: the result of a function, and what a tool followed beside it."""

    result: Any
    aside: Any = ()


def tensors(tree: Any) -> Iterator[Tensor]:
    """Every tensor in nested tuples, lists and dicts."""
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, (tuple, list)):
        for item in tree:
            yield from tensors(item)
    elif isinstance(tree, dict):
        yield from tensors(list(tree.values()))


class Storages:
    """Numbers storages by first appearance, and holds on to them so that no address is seen twice."""

    def __init__(self) -> None:
        self._numbers: dict[int, int] = {}
        self._held: list[torch.UntypedStorage] = []

    def of(self, tree: Any) -> frozenset[int]:
        return frozenset(self._number(tensor.untyped_storage()) for tensor in tensors(tree))

    def _number(self, storage: torch.UntypedStorage) -> int:
        address = storage._cdata
        if address not in self._numbers:
            self._numbers[address] = len(self._held)
            self._held.append(storage)
        return self._numbers[address]


class Recorder(TorchDispatchMode):
    """Writes a `Tape` while it is the active dispatch mode, which it can be several times in turn."""

    def __init__(self) -> None:
        super().__init__()
        self.tape = Tape()
        self.storages = Storages()
        self._part = "model"
        self._parts: dict[nn.Module, str] = {}
        self._modules: list[nn.Module] = []

    def run(self, function: Callable[[Recorder], Any]) -> Any:
        """What `function(recorder)` gives; its operators go on the tape."""
        with torch.inference_mode(), self:
            return function(self)

    def branch(self, function: Callable[[Recorder], Any]) -> Tape:
        """The tape so far and on through `function(recorder)`, whose value is the result; ours is as before.

        The function gives the result, or a `Followed` of the result and what was followed beside it.
        """
        beginning = list(self.tape.entries)
        value = self.run(function)
        if not isinstance(value, Followed):
            value = Followed(value)
        tape = Tape(self.tape.entries, self.storages.of(value.result), self.storages.of(value.aside))
        self.tape = Tape(beginning)
        return tape

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func._schema.name
        if not formulas.known(name, args):
            with self:  # an operator made of others is counted as those others
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        result = shapes.result(name, args, kwargs)
        if result is None:
            result = func(*args, **kwargs)
        reads = self.storages.of((args, kwargs))
        writes = (self.storages.of(result) - reads) | self._mutated(func, args, kwargs)
        if writes:  # otherwise a view
            cost = formulas.cost(name, args, kwargs, result)
            modules = tuple(type(module) for module in self._modules)
            self.tape.entries.append(Entry(name, cost, self.part, modules, reads, writes))
        return result

    def _mutated(self, func: Any, args: tuple, kwargs: dict) -> frozenset[int]:
        """Storages of the arguments that the operator's schema says it writes to."""
        written = []
        for index, argument in enumerate(func._schema.arguments):
            if argument.alias_info is not None and argument.alias_info.is_write:
                written.append(args[index] if index < len(args) else kwargs.get(argument.name))
        return self.storages.of(written)

    @property
    def part(self) -> str:
        """The top-level child of the followed model that is running, or else what `inside` said."""
        return next((self._parts[module] for module in self._modules if module in self._parts), self._part)

    @contextmanager
    def inside(self, part: str) -> Iterator[None]:
        """Entries written within, but outside the children of a followed model, belong to `part`."""
        outer, self._part = self._part, part
        try:
            yield
        finally:
            self._part = outer

    @contextmanager
    def following(self, model: nn.Module) -> Iterator[None]:
        """Entries carry the modules of `model` they ran in; a part is a top-level child of it."""
        self._parts = {child: name for name, child in model.named_children()}
        handles = []
        for module in model.modules():
            handles.append(module.register_forward_pre_hook(self._enter))
            handles.append(module.register_forward_hook(self._leave))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _enter(self, module: nn.Module, args: Any) -> None:
        self._modules.append(module)

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        self._modules.pop()


def record(function: Callable[[Recorder], Any]) -> Tape:
    """Run `function(recorder)` on `meta` tensors and return the tape of what it did."""
    return Recorder().branch(function)
