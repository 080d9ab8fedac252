"""Strict loading of the authors' released checkpoints, and writing our weights in their layout.

Each system brings an `OfficialLayout` (next to its assembly); this file reads files without trusting them,
compares keys and shapes both ways, and says by name what does not fit.
"""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

State = dict[str, Tensor]


class CheckpointError(ValueError):
    """A checkpoint that cannot be read, is not safe to read, or does not fit the model."""


@dataclass(frozen=True)
class OfficialLayout:
    """How a released checkpoint names things.

    Attributes:
        names: gives the released name of each entry of our model's state dict.
        ignored: patterns of released entries that hold no weights of the model (constants, index tables).
        rewrite: brings older released layouts, or another library's, to the one of `names`.
        restore: the inverse of `rewrite`, for another library's layout.
        recognised_by: pattern of an entry that only this layout has; of a system's layouts the first one that
            recognises an entry reads the checkpoint, else the first of all.
        name: what `to_official` calls it.
    """

    names: Callable[[nn.Module], dict[str, str]]
    ignored: tuple[str, ...] = ()
    rewrite: Callable[[State], State] = dict
    restore: Callable[[State], State] = dict
    recognised_by: str = ""
    name: str = "released"


@dataclass(frozen=True)
class LoadReport:
    """What `load_official` did: entries and values loaded, and the released names that it passed over."""

    matched: int
    values: int
    ignored: tuple[str, ...]


def load_official(model: nn.Module, source: Mapping[str, Any] | str | Path) -> LoadReport:
    """Load a released checkpoint into `model`, every entry or none.

    Args:
        model: a system of ours, on any device but "meta".
        source: a state dict in the released layout, or a file of it: .pth / .pt (read with `weights_only`),
            .pkl (detectron2's, numpy arrays and plain containers only) or .safetensors.

    Raises:
        CheckpointError: entries missing, left over, of another shape, not finite in the model's type or on
            the meta device (named); a damaged or unsafe file.
        OSError: the file cannot be opened.
    """
    origin = "the state dict" if isinstance(source, Mapping) else str(source)
    state = _tensors(_unwrap(source), origin) if isinstance(source, Mapping) else read_state_dict(source)
    layout = _recognise(model, state)
    state = layout.rewrite(state)
    ignored = sorted(k for k in state if any(re.fullmatch(p, k) for p in layout.ignored))
    for key in ignored:
        del state[key]
    ours = model.state_dict()
    if any(tensor.is_meta for tensor in ours.values()):
        raise CheckpointError("the model is on the meta device and cannot hold weights")
    names = layout.names(model)
    _compare(ours, names, state, origin)
    renamed = {key: state[names[key]].to(ours[key].dtype) for key in ours}
    model.load_state_dict(renamed, strict=True)
    return LoadReport(len(renamed), sum(t.numel() for t in renamed.values()), tuple(ignored))


def to_official(model: nn.Module, layout: str = "released") -> State:
    """The model's state dict under the names of a layout, without the constants of a released file.

    The tensors share their memory with the model, as in `state_dict`: a model that trains on changes them.

    Args:
        layout: "released" for the authors' own, or that of a library that carries the model ("huggingface").

    Raises:
        CheckpointError: the system has no such layout.
    """
    layouts = {candidate.name: candidate for candidate in _layouts(model)}
    if layout not in layouts:
        raise CheckpointError(f"{type(model).__name__} has no layout {layout!r}: {', '.join(layouts)}")
    names = layouts[layout].names(model)
    return layouts[layout].restore({names[key]: tensor for key, tensor in model.state_dict().items()})


def rename(
    keys: Iterable[str], rules: Iterable[tuple[str, str]], layout: str = "released"
) -> dict[str, str]:
    """The name of each key in a layout, by the first rule (pattern, replacement) that matches all of it.

    Raises:
        CheckpointError: a key for which there is no rule.
    """
    compiled = [(re.compile(pattern), replacement) for pattern, replacement in rules]
    names = {}
    for key in keys:
        for pattern, replacement in compiled:
            if match := pattern.fullmatch(key):
                names[key] = match.expand(replacement)
                break
        else:
            raise CheckpointError(
                f"{key!r} has no name in the layout {layout!r}: this part was never released in it"
            )
    return names


def read_state_dict(path: str | Path) -> State:
    """The weights in a checkpoint file (.pth, .pt, .pkl or .safetensors), which is never trusted to run code.

    Of a training checkpoint, its entry "model" or "state_dict".

    Raises:
        CheckpointError: unknown kind of file, damaged, or it holds more than tensors and plain containers.
        OSError: the file cannot be opened.
    """
    path = Path(path)
    if path.suffix not in _READERS:
        raise CheckpointError(f"{path}: expected a file of type {', '.join(_READERS)}")
    try:
        content = _READERS[path.suffix](path)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    except _DAMAGED as error:
        raise CheckpointError(f"{path}: not a readable checkpoint ({_reason(error)})") from error
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path}: holds a {type(content).__name__}, not a state dict")
    return _tensors(_unwrap(content), str(path))


def _read_torch(path: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what it will not read torch warns first and then raises
        return torch.load(path, map_location="cpu", weights_only=True)


def _read_pickle(path: Path) -> Any:
    with path.open("rb") as file:
        return _PlainUnpickler(file).load()


_READERS: dict[str, Callable[[Path], Any]] = {
    ".pth": _read_torch,
    ".pt": _read_torch,
    ".pkl": _read_pickle,
    ".safetensors": safetensors.torch.load_file,
}
# What the readers raise on a damaged file; OSError is the caller's.
_DAMAGED = (
    pickle.UnpicklingError,
    safetensors.SafetensorError,
    EOFError,
    MemoryError,
    OverflowError,
    RuntimeError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
)


def _reason(error: Exception) -> str:
    """One line; torch explains at length what it refuses, and how to read it all the same."""
    text = str(error).strip()
    if refused := re.search(r"GLOBAL ([\w.]+)", text):
        return f"refuses to load {refused[1]!r}"
    if unread := re.search(r"WeightsUnpickler error:\s*(.+)", text):
        return unread[1]
    if isinstance(error, EOFError):
        return "it ends too early"
    if not text or isinstance(error, (LookupError, AttributeError, TypeError)):
        return "damaged, or no checkpoint at all"
    return text.splitlines()[0].split(". ")[0]


class _PlainUnpickler(pickle.Unpickler):
    """Numpy arrays and plain containers; every other class or function is refused by its name."""

    _ALLOWED = frozenset(
        {
            ("collections", "OrderedDict"),
            ("_codecs", "encode"),  # bytes, in the protocols before the third
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy._core.multiarray", "_reconstruct"),
            ("numpy.core.multiarray", "scalar"),
            ("numpy._core.multiarray", "scalar"),
            ("numpy.core.numeric", "_frombuffer"),
            ("numpy._core.numeric", "_frombuffer"),
        }
    )

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file, encoding="latin1")  # some released files were pickled by Python 2

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._ALLOWED:
            raise CheckpointError(
                f"refuses to load {module + '.' + name!r}: only numpy arrays and plain containers"
            )
        if name in ("ndarray", "_reconstruct"):
            return _ARRAY if name == "ndarray" else _empty_array
        return super().find_class(module.replace("numpy.core.", "numpy._core."), name)


_ARRAY = object()  # stands for the class, which could be called for an array of any size


def _empty_array(kind: object, shape: tuple[int, ...], code: str | bytes) -> np.ndarray:
    """What numpy writes first: an array of no elements; its state, the values among it, follows."""
    if kind is not _ARRAY or tuple(shape) != (0,):
        raise CheckpointError("refuses to make an array that does not come with its values")
    return np.empty(0, np.int8)


def _layouts(model: nn.Module) -> tuple[OfficialLayout, ...]:
    layouts = getattr(model, "official", ())
    if not layouts:
        raise CheckpointError(f"{type(model).__name__} has no released checkpoint layout")
    return layouts


def _recognise(model: nn.Module, state: State) -> OfficialLayout:
    layouts = _layouts(model)
    for layout in layouts:
        if layout.recognised_by and any(re.fullmatch(layout.recognised_by, key) for key in state):
            return layout
    return layouts[0]


def _unwrap(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """Training checkpoints hold the weights beside optimizer state and counters."""
    for key in ("model", "state_dict"):
        if isinstance(content.get(key), Mapping):
            return content[key]
    return content


def _tensors(content: Mapping[str, Any], origin: str) -> State:
    state: State = {}
    for key, value in content.items():
        if not isinstance(key, str):
            raise CheckpointError(f"{origin}: the entry {key!r} has no name; expected a state dict")
        if isinstance(value, Tensor) and value.is_meta:
            raise CheckpointError(f"{origin}: {key!r} is on the meta device and has no values")
        if isinstance(value, Tensor) and value.layout == torch.strided and not value.is_complex():
            state[key] = value
        elif isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "fiub":
            state[key] = torch.from_numpy(np.array(value))
        elif isinstance(value, (bool, int, float)):
            state[key] = torch.tensor(value)
        else:
            kind = "complex or sparse tensor" if isinstance(value, Tensor) else type(value).__name__
            raise CheckpointError(f"{origin}: {key!r} is a {kind}, not a dense tensor of real numbers")
    return state


def _compare(ours: State, names: Mapping[str, str], theirs: State, origin: str) -> None:
    wanted = {names[key]: tuple(tensor.shape) for key, tensor in ours.items()}
    types = {names[key]: tensor.dtype for key, tensor in ours.items()}
    problems = []
    if missing := [k for k in wanted if k not in theirs]:
        problems.append(f"{len(missing)} missing: {some(missing)}")
    if extra := [k for k in theirs if k not in wanted]:
        problems.append(f"{len(extra)} unexpected: {some(extra)}")
    if wrong := [k for k, shape in wanted.items() if k in theirs and tuple(theirs[k].shape) != shape]:
        shapes = [f"{k} {list(theirs[k].shape)} for {list(wanted[k])}" for k in wrong]
        problems.append(f"{len(wrong)} of another shape: {some(shapes)}")
    fits = [k for k in wanted if k in theirs and k not in wrong]
    if odd := [k for k in fits if not torch.isfinite(theirs[k]).all()]:
        problems.append(f"{len(odd)} with NaN or infinity: {some(odd)}")
    if large := [k for k in fits if k not in odd and not torch.isfinite(theirs[k].to(types[k])).all()]:
        problems.append(f"{len(large)} too large for {types[large[0]]}: {some(large)}")
    if problems:
        raise CheckpointError(f"{origin} does not fit the model: " + "; ".join(problems))


def some(names: list[str], count: int = 5) -> str:
    """The first of `names` for a message, and how many more there are."""
    return ", ".join(names[:count]) + (f", and {len(names) - count} more" if len(names) > count else "")
