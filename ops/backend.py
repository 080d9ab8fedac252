"""Which implementation stands behind the operators on a device: compiled kernels or PyTorch references.

The environment variable MASKBENCH_OPS decides: `auto` (compiled where possible), `compiled` (an error where
not), `reference`. The choice is made at the first use on a device, said once, and stays for the process.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import threading
from dataclasses import dataclass

import torch

from ops import library

MODES = ("auto", "compiled", "reference")

log = logging.getLogger("maskbench.ops")
_choices: dict[str, Choice] = {}
_lock = threading.RLock()


class BackendError(RuntimeError):
    """MASKBENCH_OPS asks for what cannot be had."""


@dataclass(frozen=True)
class Choice:
    """`name` is "compiled" or "reference"; `reason` is one line."""

    name: str
    reason: str


def active_backend(device: str = "cpu") -> str:
    """The implementation behind the operators on a kind of device: "compiled" or "reference".

    The first call per device may compile (a few seconds).

    Raises:
        BackendError: MASKBENCH_OPS has an unknown value, or is `compiled` and the kernels cannot be had.
    """
    return choose(device).name


def choose(device: str) -> Choice:
    """As `active_backend`, with the reason."""
    choice = _choices.get(device)
    if choice is None:
        with _lock:
            choice = _choices.get(device) or _decide(device)
    return choice


def _decide(device: str) -> Choice:
    mode = os.environ.get("MASKBENCH_OPS") or "auto"
    if mode not in MODES:
        raise BackendError(f"MASKBENCH_OPS is {mode!r}; it must be one of {', '.join(MODES)}")
    if mode == "reference":
        choice = Choice("reference", "MASKBENCH_OPS=reference")
    else:
        try:
            choice = Choice("compiled", _prepare(device))
        except library.LibraryError as error:
            if mode == "compiled":
                raise BackendError(f"MASKBENCH_OPS=compiled, but {error}") from error
            choice = Choice("reference", str(error))
    _choices[device] = choice
    slow = mode == "auto" and choice.name == "reference"
    level = logging.WARNING if slow else logging.INFO
    log.log(level, "operators on %s: %s (%s)", device, choice.name, choice.reason)
    return choice


def _prepare(device: str) -> str:
    """Makes the compiled kernels ready, and says which ones. LibraryError: they cannot be had."""
    if device == "cpu":
        return str(library.load())
    if device != "cuda":
        raise library.LibraryError(f"there are no compiled kernels for {device}")
    if torch.version.hip or torch.cuda.get_device_capability() < (7, 0):
        raise library.LibraryError("the Triton kernels need an NVIDIA GPU of compute capability 7.0 or later")
    if importlib.util.find_spec("triton") is None:
        raise library.LibraryError("Triton is not installed")
    return "Triton"
