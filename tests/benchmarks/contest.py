"""Times several ways to compute one thing in turns, so that a busy moment hits all; memory and parts."""

import ctypes
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

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


def peak_memory(function: Callable[[], object], device: str) -> int | None:
    """Bytes that a call needs at most beyond what is there before it; None where the system does not tell.

    On the CPU by the largest resident size of the process, after the allocator gave back what it held.
    """
    function()
    if device != "cpu":
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        function()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    reset = Path("/proc/self/clear_refs")
    if not reset.exists():
        return None
    ctypes.CDLL(None).malloc_trim(0)
    before = _resident("VmRSS")
    reset.write_text("5")  # the largest resident size starts anew
    function()
    return _resident("VmHWM") - before


def _resident(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def part_times(model: nn.Module, names: list[str], function: Callable[[], object], rounds=10) -> dict:
    """Median seconds that one call of `function` spends inside each named submodule of `model`, all its calls
    together; on the CPU."""
    times: dict[str, list[float]] = defaultdict(list)
    hooks = []
    for name in names:
        started: list[float] = []
        part = model.get_submodule(name)
        hooks.append(part.register_forward_pre_hook(lambda *_, s=started: s.append(time.perf_counter())))
        hooks.append(
            part.register_forward_hook(
                lambda *_, s=started, n=name: totals.__setitem__(n, totals[n] + time.perf_counter() - s.pop())
            )
        )
    threads = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    for _ in range(rounds):
        totals: dict[str, float] = defaultdict(float)
        function()
        for name in names:
            times[name].append(totals[name])
    torch.set_num_threads(threads)
    for hook in hooks:
        hook.remove()
    return {name: statistics.median(values) for name, values in times.items()}


def matrix_rate(rounds=20) -> float:
    """Multiply-adds a second of PyTorch's matrix product on THREADS threads of the CPU, for the sizes of a
    feed-forward layer whose result fits the cache."""
    rows, inner, outer = 1024, 256, 1024
    a, b, times = torch.randn(rows, inner), torch.randn(inner, outer), []
    threads = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    try:
        for _ in range(rounds):
            started = time.perf_counter()
            a @ b
            times.append(time.perf_counter() - started)
    finally:
        torch.set_num_threads(threads)
    return rows * inner * outer / statistics.median(times)
