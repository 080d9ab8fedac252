"""The folder of a run: what it is (`spec.json`), what it did (`metrics.jsonl`, `events.jsonl`), where it
stands."""

import fcntl
import json
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from bench.errors import UserError
from bench.files import atomic_write

_FILES = ("spec.json", "metrics.jsonl", "events.jsonl", "checkpoint.pt")


class RunFolder:
    """Paths in a run folder. `metrics` holds what the run computed and is the same however often it was
    killed; `events` holds what differs: when it started and stopped, on which device, for how long."""

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = Path(path)
        self.spec = self.path / "spec.json"
        self.metrics = self.path / "metrics.jsonl"
        self.events = self.path / "events.jsonl"
        self.checkpoint = self.path / "checkpoint.pt"

    def check(self, description: dict) -> None:
        """Raises UserError naming what differs if the folder holds a run of another description that has got
        as far as a checkpoint."""
        if not (self.spec.exists() and self.checkpoint.exists()):
            return
        changes = differences(self.description(), json.loads(json.dumps(description)))
        if changes:
            raise UserError(
                f"{self.path} holds another run ({'; '.join(changes[:3])}); choose another --out, or --fresh"
            )

    def prepare(self, description: dict, resume: bool) -> None:
        """Writes `spec.json`. An older run in the folder is deleted with `resume=False`, and where it is
        another one that has no checkpoint."""
        if not (resume and (self.checkpoint.exists() or self._holds(description))):
            for name in _FILES:
                (self.path / name).unlink(missing_ok=True)
        if not self.spec.exists():
            atomic_write(self.spec, json.dumps(description, indent=1) + "\n")

    def description(self) -> dict:
        """What `prepare` was given. Raises UserError for a folder that holds no run."""
        try:
            return json.loads(self.spec.read_text())
        except FileNotFoundError as error:
            raise UserError(f"{self.path} is not the folder of a run: it has no spec.json") from error
        except ValueError as error:
            raise UserError(f"{self.spec} is not valid JSON") from error

    def _holds(self, description: dict) -> bool:
        """Whether the folder's run is described so, as far as it can be read."""
        try:
            return self.description() == json.loads(json.dumps(description))
        except UserError:
            return False

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Makes the folder and keeps a second process out of it; the lock dies with the process. Raises
        UserError if taken."""
        self.path.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError as error:
            raise UserError(f"another process is training in {self.path}") from error
        finally:
            os.close(handle)

    def note(self, event: str, **values: object) -> None:
        """Adds a line to `events.jsonl`."""
        line = {"time": round(time.time(), 3), "event": event, **values}
        with open(self.events, "a") as file:
            file.write(json.dumps(line) + "\n")

    def seconds(self) -> float:
        """Time spent training, over all the times that the run was started, in seconds."""
        if not self.events.exists():
            return 0.0
        lines = [json.loads(line) for line in self.events.read_text().split("\n")[:-1]]
        return sum(line.get("seconds", 0.0) for line in lines)


def differences(old: object, new: object, path: str = "") -> list[str]:
    """Where two trees of dicts differ, as "train.lr: 0.0001, now 0.001"."""
    if isinstance(old, dict) and isinstance(new, dict):
        found = []
        for key in sorted(old.keys() | new.keys()):
            found += differences(old.get(key), new.get(key), f"{path}.{key}" if path else key)
        return found
    return [] if old == new else [f"{path}: {old}, now {new}"]


def device_name(device: torch.device) -> str:
    """The device in words, for records: the GPU's name, or the CPU's architecture and thread count."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"{device.type} {platform.machine()}, {threads} thread{'s' if threads > 1 else ''}"
