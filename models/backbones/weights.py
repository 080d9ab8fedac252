"""Loading local ImageNet weights into a backbone."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor, nn

from models.official import CheckpointError, read_state_dict, some

COUNTER = "num_batches_tracked"
"""BatchNorm's step counter: frozen layers have none, old files lack it."""


def load_weights(
    module: nn.Module,
    path: str,
    rename: Callable[[str], str] = str,
    unused: tuple[str, ...] = (),
    absent: tuple[str, ...] = (),
) -> None:
    """Reads a state dict file (see `models.official`) into `module`, strictly; on `meta` nothing is read.

    Args:
        rename: the file's names to the module's.
        unused: prefixes, in the file, of what the module has no place for: the classifier.
        absent: prefixes, in the module, of what the file lacks; those tensors keep their values.

    Raises:
        CheckpointError: tensors missing, left over, of another shape or not finite; the message names the
            file and the tensors.
    """
    if next(module.parameters()).is_meta:
        return
    state = {rename(key): value for key, value in read_state_dict(path).items() if not key.startswith(unused)}
    assign(module, state, path, absent)


def assign(module: nn.Module, state: Mapping[str, Tensor], source: str, absent: tuple[str, ...] = ()) -> None:
    """Copies `state`, read from `source`, into `module`; arguments and errors as of `load_weights`."""
    own = module.state_dict()
    state = {key: value for key, value in state.items() if key in own or not key.endswith(COUNTER)}
    needed = [key for key in own if not key.startswith(absent) and not key.endswith(COUNTER)]
    problems = {
        "missing": [key for key in needed if key not in state],
        "left over": [key for key in state if key not in own],
        "of another shape": [
            f"{key} {list(value.shape)} for {list(own[key].shape)}"
            for key, value in state.items()
            if key in own and value.shape != own[key].shape
        ],
        "with NaN or infinity": [
            key for key, value in state.items() if key in own and not value.isfinite().all()
        ],
    }
    found = [f"{len(keys)} {what}: {some(keys)}" for what, keys in problems.items() if keys]
    if found:
        raise CheckpointError(f"{source} does not fit {type(module).__name__}: {'; '.join(found)}")
    module.load_state_dict(state, strict=False)
