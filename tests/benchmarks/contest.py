"""Times several ways to compute one thing in turns, so that a busy moment hits all of them."""

import statistics
import time
from collections.abc import Callable

import torch

ROUNDS = 20
THREADS = 2


def contest(benchmark, ours: Callable[[], object], others: dict[str, Callable[[], object]], rounds=ROUNDS):
    """Each round runs every contender once; pytest-benchmark times ours, the rest is timed in between.

    The medians of the others go to `extra_info["others"]`, in seconds.
    """
    times: dict[str, list[float]] = {name: [] for name in others}

    def in_between() -> None:
        for name, function in others.items():
            started = time.perf_counter()
            synchronised(function)
            times[name].append(time.perf_counter() - started)

    threads = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    try:
        for function in (ours, *others.values()):
            function()
        benchmark.pedantic(synchronised, args=(ours,), setup=in_between, rounds=rounds, iterations=1)
    finally:
        torch.set_num_threads(threads)
    benchmark.extra_info["others"] = {name: statistics.median(values) for name, values in times.items()}
    benchmark.extra_info["rounds"] = rounds


def synchronised(function: Callable[[], object]) -> object:
    """Calls it and waits until the device has done what was asked."""
    result = function()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return result
