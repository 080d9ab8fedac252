"""The folder of an evaluation: what it evaluates (`evaluation.json`) and what each image adds to the scores.

Tallies are lines of JSON, appended as images are done, in a file for each process. After a kill the folder
holds every image that was done; a line that was cut short is dropped when its file is next written to.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.files import atomic_write
from bench.records import whole_lines, write_all
from bench.train.folder import differences

Tally = dict[str, Any]
Write = Callable[[Tally], None]


class TallyFolder:
    """Tallies by image (`{"image": number, ...}`) in `path`, a folder that is made when it is prepared."""

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = Path(path)
        self.description = self.path / "evaluation.json"
        self.scores = self.path / "scores.json"

    def prepare(self, description: dict[str, Any]) -> str | None:
        """Makes the folder for an evaluation, which continues if it is the one that the folder holds.

        Returns why tallies were dropped, or None: `description["first_output"]` differs, the hash of the
        model's output for the first image, which a change of machine or library can move.
        Raises UserError naming what else differs.
        """
        description = json.loads(json.dumps(description))
        reason, known = None, self._known()
        if known is not None and known != description:
            same = {**known, "first_output": description.get("first_output")}
            if changes := differences(same, description):
                told = "; ".join(changes[:3])
                raise UserError(f"{self.path} holds another evaluation ({told}); choose another --out")
            hashes = f"{description.get('first_output')} here, {known.get('first_output')} in {self.path}"
            reason = (
                f"the model's output for the first image has the hash {hashes}: "
                "another machine, library or number of threads"
            )
        if known != description:
            self.clear()
            atomic_write(self.description, json.dumps(description, indent=1) + "\n")
        return reason

    def clear(self) -> None:
        """Removes what images were found to add, and the scores."""
        for file in [*self._files(), self.scores]:
            file.unlink(missing_ok=True)

    def done(self) -> dict[int, Tally]:
        """The tallies so far, by image, in order."""
        found: dict[int, Tally] = {}
        for file in self._files():
            for line in file.read_bytes().split(b"\n")[:-1]:
                if (tally := _parse(line)) is not None:
                    found[tally["image"]] = tally
        return dict(sorted(found.items()))

    @contextmanager
    def writer(self, name: str) -> Iterator[Write]:
        """Appends tallies to the file of one process. Raises UserError if another process has it open."""
        handle = os.open(self.path / f"tallies-{name}.jsonl", os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(handle, whole_lines(handle))
            yield lambda tally: _append(handle, tally)
        except BlockingIOError as error:
            raise UserError(f"another process evaluates in {self.path}") from error
        finally:
            os.close(handle)  # also unlocks

    def _known(self) -> dict[str, Any] | None:
        """What the folder holds, None where that is nothing or cannot be read."""
        try:
            return json.loads(self.description.read_text())
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return None

    def _files(self) -> list[Path]:
        return sorted(self.path.glob("tallies-*.jsonl"))


def _parse(line: bytes) -> Tally | None:
    """The tally of one line; None for one that a crash of the machine has damaged."""
    try:
        tally = json.loads(line)
    except ValueError:
        return None
    return tally if isinstance(tally, dict) and isinstance(tally.get("image"), int) else None


def _append(handle: int, tally: Tally) -> None:
    write_all(handle, (json.dumps(tally, separators=(",", ":"), allow_nan=False) + "\n").encode())
