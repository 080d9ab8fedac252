from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench.workers import worker_pool

SCRIPT = """
import os, sys, time
from bench.workers import worker_pool

if __name__ == "__main__":
    with worker_pool(2) as pool:
        print(*{pool.submit(os.getpid).result() for _ in range(20)}, flush=True)
        list(pool.map(time.sleep, [60, 60]))
"""


def test_a_pool_works():
    with worker_pool(2) as pool:
        assert list(pool.map(abs, range(-5, 0))) == [5, 4, 3, 2, 1]


def test_workers_end_when_their_maker_is_killed(tmp_path):
    script = tmp_path / "maker.py"
    script.write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    maker = subprocess.Popen(
        [sys.executable, script],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # multiprocessing tells of what a killed process leaves
        text=True,
        env=environment,
    )
    workers = [int(pid) for pid in maker.stdout.readline().split()]
    assert workers and all(map(_alive, workers))
    maker.kill()
    maker.wait()
    assert maker.returncode == -signal.SIGKILL
    _wait_for(lambda: not any(map(_alive, workers)))


def _wait_for(done: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not done():
        assert time.monotonic() < end
        time.sleep(0.02)


def _alive(pid: int) -> bool:
    """Whether the process runs; one that ended and that nobody asked after does not."""
    try:
        os.kill(pid, 0)
        status = Path(f"/proc/{pid}/stat")
        return not status.exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
