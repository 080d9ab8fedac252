"""Label maps in MATLAB files, as COCO-Stuff-10K and PASCAL-Context publish them."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from scipy.io.matlab import MatReadError

from bench.data.archive import AnyPath
from bench.data.labels import Labels, LabelTable, map_labels
from bench.data.pairs import Pair
from bench.data.zipped import UnreadableFile
from bench.errors import UserError

_DECODING_ERRORS = (
    OSError, ValueError, TypeError, LookupError, EOFError, ArithmeticError, MemoryError, RuntimeError,
    zlib.error, MatReadError,
)  # fmt: skip
"""What SciPy raises on damaged files, depending on where the damage is."""


@dataclass(frozen=True)
class MatLabels:
    """Reads the labels of a pair whose label file holds the ids as the variable `key`."""

    key: str
    table: LabelTable

    def __call__(self, pair: Pair) -> Labels:
        """Raises UnreadableFile, UserError."""
        return Labels(map_labels(read_variable(pair.labels, self.key), self.table, pair.labels))


def read_variable(path: AnyPath, key: str) -> np.ndarray:
    """Integer [H,W] from a MATLAB file of version 7.2 or older. Raises UnreadableFile; UserError for 7.3."""
    from scipy.io import loadmat

    try:
        with path.open("rb") as file:
            found = loadmat(file, variable_names=[key])
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except NotImplementedError as error:
        raise UserError(f"{path}: a MATLAB 7.3 file, which is not read; save it as version 7") from error
    except _DECODING_ERRORS as error:
        raise UnreadableFile(f"{path}: truncated or not a MATLAB file ({error})") from error
    labels = found.get(key)
    if not isinstance(labels, np.ndarray) or labels.ndim != 2 or labels.dtype.kind not in "iuf":
        raise UserError(f"{path}: expected a matrix {key} of class ids")
    whole = labels.astype(np.int64)
    if labels.dtype.kind == "f" and (whole != labels).any():
        raise UserError(f"{path}: {key} holds numbers that are no ids")
    return whole
