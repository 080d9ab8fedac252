"""Writing files so that a reader sees the old content or the new, never half of it."""

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_files() -> Iterator[Callable[[str | os.PathLike], Path]]:
    """Several files that belong together: all of them are new afterwards, or all are what they were.

    Gives a function from the path of a file to a temporary path in the same folder (made as needed), with
    the same suffix, for writers that choose a format by it. On success all are renamed, on any failure all
    are removed. Raises OSError as the file system does (for a full disk with errno ENOSPC).
    """
    staged: dict[Path, Path] = {}

    def stage(path: str | os.PathLike) -> Path:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        name = f".{path.stem}-{os.getpid()}-{secrets.token_hex(4)}{path.suffix}"
        return staged.setdefault(path, path.with_name(name))

    try:
        yield stage
        for temporary in staged.values():
            _sync(temporary)
        for path, temporary in staged.items():
            os.replace(temporary, path)
    except OSError as error:
        if error.filename is None and staged:  # a failed write does not know its file
            error.filename = str(next(iter(staged)).parent)
        raise
    finally:
        for temporary in staged.values():
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """A temporary path for one file, renamed to `path` on success; see `atomic_files`."""
    with atomic_files() as stage:
        yield stage(path)


def atomic_write(path: str | os.PathLike, content: str | bytes) -> None:
    """Writes text (UTF-8) or bytes to `path` in one step. Raises OSError; `path` is then as before."""
    data = content.encode("utf-8") if isinstance(content, str) else content
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def _sync(path: Path) -> None:
    """Waits until the content is on the disk: only then may it replace what was there."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
