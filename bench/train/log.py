"""JSON lines that a killed run leaves mendable: one line a step, each whole or absent."""

import json
import os
from pathlib import Path


class StepLog:
    """Appends `{"step": n, ...}` lines to `path`.

    Opening it for a run that continues at `next_step` drops what a killed run wrote after its checkpoint, and
    a last line cut short, so that no step is ever in the file twice. Raises OSError as the file system does.
    """

    def __init__(self, path: Path, next_step: int = 0) -> None:
        self.path = path
        self._file = open(path, "ab")
        self._file.truncate(_length_before(path, next_step))

    def write(self, step: int, values: dict[str, object]) -> None:
        """Adds the line of one step; JSON has no NaN, so ValueError for a number that is not finite."""
        line = json.dumps({"step": step, **values}, allow_nan=False) + "\n"
        self._file.write(line.encode())
        self._file.flush()

    def sync(self) -> None:
        """Waits until every line is on the disk; called before a checkpoint that relies on them."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def read_log(path: Path) -> list[dict]:
    """The lines of a log; a last line cut short is left out."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]


def _length_before(path: Path, step: int) -> int:
    """The length in bytes of the leading whole lines whose step is before `step`."""
    length = 0
    with open(path, "rb") as file:
        for line in file:
            if not line.endswith(b"\n") or json.loads(line)["step"] >= step:
                break
            length += len(line)
    return length
