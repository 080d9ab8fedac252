"""Weights in files: loading them into a model, and telling one file from another."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import UserError

if TYPE_CHECKING:
    from torch import nn


RANDOM = "weights: random (no --weights, no --run): the result means nothing"


def load_weights(model: nn.Module, path: Path) -> str:
    """Loads a file into `model`: a released checkpoint, or a run's checkpoint. Returns what it did, in words.

    Raises CheckpointError or UserError naming the file and what does not fit.
    """
    from bench.train.checkpoint import load_model
    from models import load_official

    if is_of_a_run(path):
        return f"weights: {path}, step {load_model(path, model)}"
    return f"weights: {path}, {load_official(model, path).matched} tensors"


def is_of_a_run(path: Path) -> bool:
    """Whether a file of weights was written by a training run here, not by somebody else. Raises UserError
    where there is no such file."""
    from bench.train.checkpoint import is_checkpoint

    if not path.is_file():
        raise UserError(f"no weights at {path}")
    return is_checkpoint(path)


def file_hash(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal. Raises OSError."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
