"""Work on many files that may be killed at any time and goes on where it was.

Each finished item is a line of a journal; the result is a function of all lines, whatever the interruptions.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.data.verify import Progress, silent
from bench.workers import worker_pool

Record = dict[str, Any]
Work = Callable[[Any], Record]


def run_all(
    items: Sequence[Any],
    names: Sequence[str],
    work: Work,
    journal: Path,
    *,
    state: str,
    workers: int = 0,
    progress: Progress = silent,
    label: str = "",
) -> list[Record]:
    """`work(item)` of every item, in order; those that the journal holds are not done again.

    names: of the items, unique; state: a journal of another state (other input) is thrown away; workers:
    processes beside this one (0: none), for which `work` and items can be pickled. The journal is left for
    the caller to remove once the records are safe. Raises what `work` raises; the journal then holds what was
    done.
    """
    done, whole = _read(journal, state)
    todo = [(name, item) for name, item in zip(names, items, strict=True) if name not in done]
    journal.parent.mkdir(parents=True, exist_ok=True)
    with open(journal, "r+b" if whole else "wb") as file:
        file.truncate(whole)
        file.seek(whole)
        if not whole:
            file.write(_line({"state": state}))
            file.flush()
        results = _map(work, [item for _, item in todo], workers)
        for (name, _), record in progress(zip(todo, results, strict=True), len(todo), label):
            file.write(_line({"name": name, "record": record}))
            file.flush()
            done[name] = record
    return [done[name] for name in names]


def _map(work: Work, items: list[Any], workers: int) -> Iterator[Record]:
    if workers < 1:
        yield from map(work, items)
        return
    pool = worker_pool(workers)
    try:
        yield from pool.map(work, items, chunksize=8)
    finally:
        pool.shutdown(cancel_futures=True)


def _line(row: dict[str, Any]) -> bytes:
    return json.dumps(row).encode() + b"\n"


def _read(journal: Path, state: str) -> tuple[dict[str, Record], int]:
    """The records in a journal of this state and where its last whole line ends: a kill may have cut one."""
    try:
        lines = journal.read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return {}, 0
    rows, end = [], 0
    for line in lines:
        try:
            row = json.loads(line) if line.endswith(b"\n") else None
        except ValueError:
            row = None
        if row is None:
            break
        rows.append(row)
        end += len(line)
    if not rows or rows[0] != {"state": state}:
        return {}, 0
    return {row["name"]: row["record"] for row in rows[1:]}, end
