"""Checkpoints: all that a run needs to continue as if it had never stopped.

Written to a temporary file and renamed, so that a kill or a full disk leaves the older checkpoint intact.
Read with `weights_only=True`: nothing in a checkpoint is ever executed.
"""

import io
import pickle
import zipfile
from pathlib import Path

import torch
from torch import nn

from bench.errors import UserError
from bench.files import atomic_path

_FORMAT = 1
_UNREADABLE = (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError)


def save_checkpoint(
    path: Path, step: int, model: nn.Module, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler
) -> None:
    """Writes model, optimizer and loss scale after `step` completed steps; there is no state of a random
    generator to keep, since every step seeds its own.

    Raises OSError (with errno ENOSPC for a full disk); `path` is then what it was before.
    """
    state = {
        "format": _FORMAT,
        "step": step,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scaler": scaler.state_dict(),
    }
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        sink = _Sink(file)
        try:
            torch.save(state, sink)
        except RuntimeError as error:  # torch's writer hides the reason why the file refused its bytes
            if sink.failure is None:
                raise
            raise OSError(sink.failure.errno, sink.failure.strerror, str(path)) from error


def load_checkpoint(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler
) -> int:
    """Restores what `save_checkpoint` wrote and returns the number of completed steps. Raises UserError."""
    state = read_checkpoint(path)
    try:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
    except (RuntimeError, ValueError) as error:
        raise UserError(f"{path} does not fit this model: {_reason(error)}") from error
    scaler.load_state_dict(state["scaler"])
    return state["step"]


def load_model(path: Path, model: nn.Module) -> int:
    """Loads only the model of a checkpoint; returns the number of completed steps. Raises UserError, also for
    weights that are not finite."""
    state = read_checkpoint(path)
    for name, tensor in state["model"].items():
        if not torch.isfinite(tensor).all():
            raise UserError(f"{path}: {name} is not finite (NaN or infinity)")
    try:
        model.load_state_dict(state["model"])
    except RuntimeError as error:
        raise UserError(f"{path} does not fit this model: {_reason(error)}") from error
    return state["step"]


def is_checkpoint(path: Path) -> bool:
    """Whether the file is a checkpoint of a run, rather than weights from elsewhere."""
    if not zipfile.is_zipfile(path):  # as torch writes them; spares other formats a useless attempt
        return False
    try:
        read_checkpoint(path)
    except UserError:
        return False
    return True


def read_checkpoint(path: Path) -> dict:
    """The checkpoint as a dictionary, tensors on the CPU. Raises UserError naming a file that is not one."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise UserError(f"no checkpoint at {path}") from error
    except _UNREADABLE as error:  # a damaged file fails in as many ways as zip and pickle know
        raise UserError(f"{path} cannot be read as a checkpoint: {type(error).__name__}") from error
    if not isinstance(state, dict) or state.get("format") != _FORMAT:
        raise UserError(f"{path} is not a checkpoint of this program")
    return state


def _reason(error: Exception) -> str:
    """The first line of torch's message that names a key."""
    lines = str(error).splitlines()
    return lines[min(1, len(lines) - 1)].strip()


class _Sink(io.RawIOBase):
    """Passes bytes on to `file` and remembers the error that stopped it."""

    def __init__(self, file: io.BufferedWriter) -> None:
        self._file = file
        self.failure: OSError | None = None

    def writable(self) -> bool:
        return True

    def write(self, data) -> int:  # noqa: ANN001 - whatever buffer torch hands over
        try:
            return self._file.write(data)
        except OSError as error:
            self.failure = error
            raise

    def flush(self) -> None:
        try:
            self._file.flush()
        except OSError as error:
            self.failure = error
            raise
