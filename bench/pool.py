"""Jobs side by side in worker processes, with word of how far each is.

A worker that finds its parent gone stops, so a killed run leaves no process behind.
"""

import multiprocessing
import os
import traceback
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol, TypeVar

from bench.errors import UserError


class Job(Protocol):
    """What can be pickled and has a name for messages."""

    @property
    def label(self) -> str:
        """Such as "row 3"."""


AnyJob = TypeVar("AnyJob", bound=Job)
Perform = Callable[[AnyJob, Callable[[int], None]], Any]
"""Does a job, calls back with the number of steps it has completed, and gives its record."""


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_jobs(
    jobs: Sequence[AnyJob],
    perform: Perform,
    report: Callable[[AnyJob, int], None],
    workers: int | None = None,
) -> Iterator[tuple[AnyJob, Any]]:
    """Yields each job with its record as it is done, in any order; `workers` at a time, by default one a
    core.

    `perform` is a function of a module, which every worker imports. `report` is called with a job and the
    number of steps it has completed. Raises what a job raised (UserError and OSError as they are,
    anything else as RuntimeError with the worker's traceback); the others are then stopped.
    """
    context = multiprocessing.get_context("spawn")
    waiting = list(jobs)
    running: dict[Connection, tuple[multiprocessing.Process, AnyJob]] = {}
    try:
        for _ in range(min(workers or cores(), len(waiting))):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs, perform), daemon=True)
            process.start()
            theirs.close()
            job = waiting.pop(0)
            ours.send(job)
            running[ours] = (process, job)
        while running:
            for connection in wait(list(running)):
                process, job = running[connection]
                kind, content = _receive(connection, process, job)
                if kind == "step":
                    report(job, content)
                    continue
                if waiting:
                    following = waiting.pop(0)
                    connection.send(following)
                    running[connection] = (process, following)
                else:
                    connection.close()
                    del running[connection]
                yield job, content
    finally:
        for process, _ in running.values():
            process.terminate()


def _receive(connection: Connection, process: multiprocessing.Process, job: AnyJob) -> tuple[str, Any]:
    try:
        kind, content = connection.recv()
    except EOFError:
        process.join(timeout=5)
        raise RuntimeError(f"the worker on {job.label} died (exit code {process.exitcode})") from None
    if kind == "error":
        raise content
    return kind, content


def _work(connection: Connection, perform: Perform) -> None:
    """A worker's life: jobs come in, steps, records and errors go out; it ends with its parent."""
    while True:
        try:
            job = connection.recv()
        except (EOFError, KeyboardInterrupt):
            return
        try:
            connection.send(("done", perform(job, lambda step: connection.send(("step", step)))))
        except (BrokenPipeError, KeyboardInterrupt):
            return
        except (UserError, OSError) as error:
            connection.send(("error", error))
        except Exception:
            connection.send(
                ("error", RuntimeError(f"{job.label} failed in a worker:\n{traceback.format_exc()}"))
            )
