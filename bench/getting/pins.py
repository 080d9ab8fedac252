"""What was downloaded once, by its hash: a file that no author prints a hash of is trusted at first use."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

from bench.errors import UserError
from bench.files import atomic_write


def store() -> Path:
    """The folder of the result store: that of MASKBENCH_STORE, or .maskbench."""
    return Path(os.environ.get("MASKBENCH_STORE") or ".maskbench")


class Pins:
    """The file downloads.lock.json in the store: address -> SHA-256, size in bytes, day of the download."""

    def __init__(self, folder: Path | None = None) -> None:
        self.path = (folder or store()) / "downloads.lock.json"

    def sha256(self, url: str) -> str | None:
        """The pinned hash of what is at `url`. Raises UserError for a lock file that cannot be read."""
        entry = self._read().get(url)
        return entry["sha256"] if entry else None

    def add(self, url: str, sha256: str, size: int) -> None:
        """Pins the hash of what is at `url`, unless there is a pin. Raises OSError."""
        with self._locked():
            pins = self._read()
            if url not in pins:
                pins[url] = {"sha256": sha256, "size": size, "downloaded": date.today().isoformat()}
                atomic_write(self.path, json.dumps(pins, indent=1, sort_keys=True) + "\n")

    def _read(self) -> dict[str, dict]:
        try:
            pins = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise UserError(f"{self.path} is damaged ({error}); delete it to trust the files anew") from error
        if not isinstance(pins, dict) or not all(
            isinstance(pin, dict) and isinstance(pin.get("sha256"), str) for pin in pins.values()
        ):
            raise UserError(f"{self.path} is damaged; delete it to trust the files anew")
        return pins

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path.with_name(".downloads.lock"), "ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
