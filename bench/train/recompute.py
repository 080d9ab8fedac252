"""Activation checkpointing: what is inside a layer is computed again for its gradient, not kept.

Every repeated block of a model (blocks of a backbone, layers of an encoder or a decoder) keeps its inputs
alone (Chen et al. 2016, "Training deep nets with sublinear memory cost"). Gradients are the same.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


def recompute_blocks(
    model: nn.Module, within: Callable[[], AbstractContextManager] = nullcontext
) -> list[str]:
    """Makes the blocks of `model` forget what is inside them; returns their names.

    Parameters, buffers and the state dict stay as they are. It works in training mode alone. The second
    computation runs `within` a context.
    """
    names = list(blocks(model))
    for name in names:
        block = model.get_submodule(name)
        block.forward = _forgetful(block, block.forward, within)
    return names


def blocks(model: nn.Module) -> Iterator[str]:
    """Names of the innermost repeated parts: items of a list, or of a sequence of their like, that are made
    of several modules with parameters."""
    inner = _repeated(model)
    for name in inner:
        if not any(other.startswith(f"{name}.") for other in inner):
            yield name


def _repeated(model: nn.Module) -> list[str]:
    found = []
    for name, module in model.named_modules():
        if isinstance(module, (nn.ModuleList, nn.Sequential)) and len(module):
            kinds = {type(child) for child in module}
            alike = isinstance(module, nn.ModuleList) or len(kinds) == 1
            found += [
                f"{name}.{key}" for key, child in module.named_children() if alike and _composite(child)
            ]
    return found


def _composite(module: nn.Module) -> bool:
    """Whether it computes something itself from several modules that have parameters."""
    if isinstance(module, (nn.ModuleList, nn.ModuleDict, nn.Sequential)):
        return False
    return sum(any(True for _ in child.parameters()) for child in module.children()) > 1


def _forgetful(
    block: nn.Module, forward: Callable[..., Any], within: Callable[[], AbstractContextManager]
) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        if not (block.training and torch.is_grad_enabled()):
            return forward(*args, **kwargs)
        given = [_as_it_is(value) for value in args]
        named = {name: _as_it_is(value) for name, value in kwargs.items()}
        return checkpoint(forward, *given, use_reentrant=False, context_fn=contexts, **named)

    def contexts() -> tuple[AbstractContextManager, AbstractContextManager]:
        return nullcontext(), _again(block, within)

    return run


def _as_it_is(value: Any) -> Any:
    """An argument that later blocks may change, such as a decoder's record of earlier ones, as it is now."""
    if isinstance(value, (dict, list)):
        return copy.copy(value)
    if not dataclasses.is_dataclass(value):
        return value
    made = copy.copy(value)
    for field in dataclasses.fields(value):
        object.__setattr__(made, field.name, _as_it_is(getattr(value, field.name)))
    return made


@contextmanager
def _again(block: nn.Module, within: Callable[[], AbstractContextManager]) -> Iterator[None]:
    """What holds in the second computation."""
    with within(), _statistics_kept(block):
        yield


@contextmanager
def _statistics_kept(block: nn.Module) -> Iterator[None]:
    """Within, the statistics of batch norms stay as they are: the first pass has updated them."""
    norms = [m for m in block.modules() if isinstance(m, _BatchNorm) and m.training and m.track_running_stats]
    before = [(norm.momentum, norm.num_batches_tracked.clone()) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, (momentum, batches) in zip(norms, before, strict=True):
            norm.momentum = momentum
            norm.num_batches_tracked.copy_(batches)
