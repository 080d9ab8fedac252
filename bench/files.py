"""Writing files so that a reader sees the old content or the new, never half of it."""

import errno
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
    are removed. Raises OSError as the file system does (for a full disk with errno ENOSPC), naming the file
    that was to be written, not the temporary one.
    """
    staged: dict[Path, Path] = {}

    def stage(path: str | os.PathLike) -> Path:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():  # told now: once others are renamed it is too late
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        name = f".{path.stem}-{os.getpid()}-{secrets.token_hex(4)}{path.suffix}"
        return staged.setdefault(path, path.with_name(name))

    try:
        yield stage
        for temporary in staged.values():
            _sync(temporary)
        for path, temporary in staged.items():
            os.replace(temporary, path)
    except OSError as error:
        meant = {str(temporary): str(path) for path, temporary in staged.items()}
        if error.filename is not None:
            error.filename = meant.get(str(error.filename), error.filename)
        elif staged:  # a failed write does not know its file
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


def require_writable(folder: str | os.PathLike) -> None:
    """Before a long computation: files can be written to `folder`, or it can be made. Makes nothing.

    Raises OSError: something on the way is no folder, or may not be written to.
    """
    folder = Path(folder).absolute()
    found = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
    if not found.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(found))
    if not os.access(found, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(found))


def _sync(path: Path) -> None:
    """Waits until the content is on the disk: only then may it replace what was there."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
