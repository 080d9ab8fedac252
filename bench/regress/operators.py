"""How many times faster than its readable reference the compiled operator is, both timed in turns, and how
far its results are from the reference's."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import TYPE_CHECKING

from bench.regress.check import Change, Numbers, Progress, both, gone_or_new

if TYPE_CHECKING:
    from torch import Tensor

SHAPES = [(32, 32), (16, 16), (8, 8)]
"""Levels of an image of 256 x 256 at strides 8, 16 and 32."""
HEADS, CHANNELS, POINTS = 8, 32, 4
ROUNDS = 7
LEAST = 0.5
"""Share of the baseline's ratio that is allowed: what a busy machine does to its caches, and some more."""
ERROR, EXACT = "error", 1e-5
"""Distance from the reference, as a share of its largest value, and what rounding may make of it."""


class Operators:
    """Deformable attention, forward and forward with backward: ratios of times, and errors."""

    title = "Operators"
    by_platform = True

    def measure(self, progress: Progress) -> Numbers:
        """Ratios and errors by direction; a ratio is 1 where the reference runs because the operator did not
        compile."""
        from ops import active_backend

        compiled = active_backend("cpu") == "compiled"
        found: Numbers = {}
        with progress(2, "operators") as advance:
            for name, pair in _directions().items():
                found[f"ms_deform_attn, {name}"] = [_ratio(*pair) if compiled else 1.0]
                found[f"ms_deform_attn, {name}, {ERROR}"] = [_error(*pair)]
                advance(1)
        return found

    def compare(self, was: Numbers, now: Numbers, same_platform: bool) -> Iterator[Change]:
        """A ratio below `LEAST` of what it was, on another kind of machine below 1; an error above
        `EXACT`."""
        yield from gone_or_new("operators", was, now)
        for name, (old,), (new,) in both(was, now):
            if name.endswith(ERROR):
                if not new <= EXACT:  # also where it is nan
                    words = f"at most {EXACT:g} of the reference's largest value"
                    yield Change("operators", name, f"{old:.1g}", f"{new:.1g}", words)
                continue
            least = LEAST * old if same_platform else 1.0
            if new < least:
                words = f"at least {least:.1f} times the reference"
                yield Change("operators", name, f"{old:.1f} times", f"{new:.1f} times", words)


def _directions() -> dict[str, tuple[Callable[[], Tensor], Callable[[], Tensor]]]:
    import torch

    from ops import ms_deform_attn, ms_deform_attn_reference

    generator = torch.Generator().manual_seed(0)
    queries = sum(height * width for height, width in SHAPES)
    points = (1, queries, HEADS, len(SHAPES), POINTS)
    value = torch.randn(1, queries, HEADS, CHANNELS, generator=generator, requires_grad=True)
    locations = torch.rand(*points, 2, generator=generator)
    weights = torch.rand(points, generator=generator).flatten(3).softmax(-1).view(points)

    def forward(operator: Callable) -> Callable[[], Tensor]:
        def call() -> Tensor:
            with torch.no_grad():
                return operator(value, SHAPES, locations, weights)

        return call

    def backward(operator: Callable) -> Callable[[], Tensor]:
        return lambda: torch.autograd.grad(operator(value, SHAPES, locations, weights).sum(), value)[0]

    pair = (ms_deform_attn, ms_deform_attn_reference)
    return {
        "forward": tuple(map(forward, pair)),
        "forward and backward": tuple(map(backward, pair)),
    }


def _error(ours: Callable[[], Tensor], reference: Callable[[], Tensor]) -> float:
    """The largest difference of two results, as a share of the largest value of the second."""
    wanted = reference()
    return float((ours() - wanted).abs().max() / wanted.abs().max())


def _ratio(ours: Callable[[], object], reference: Callable[[], object]) -> float:
    """Median processor time of the reference over ours, on one thread."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        times = [(_seconds(ours), _seconds(reference)) for _ in range(ROUNDS + 1)]
    finally:
        torch.set_num_threads(threads)
    own, other = (median(column) for column in zip(*times[1:], strict=True))
    return other / own


def _seconds(call: Callable[[], object]) -> float:
    began = time.process_time()  # a busy machine interrupts the slower of two more often
    call()
    return time.process_time() - began
