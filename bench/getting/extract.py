"""Unpacking an archive, file by file, so that an interrupted unpacking goes on where it stopped."""

from __future__ import annotations

import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from bench.errors import UserError
from bench.getting.report import SILENT, Reporter


class _Member(NamedTuple):
    name: str
    size: int
    content: zipfile.ZipInfo | tarfile.TarInfo


def unpack(archive: Path, folder: Path, report: Reporter = SILENT) -> int:
    """Unpacks a .zip or .tar into `folder`; a file that is there in its right size is left alone. Returns how
    many files were written.

    Raises:
        UserError: a damaged or encrypted archive, or a member that would lie outside of `folder` or is a
            link.
        OSError: the disk fails, naming the file.
    """
    try:
        with _opened(archive) as (members, content):
            total, done, written = sum(member.size for member in members), 0, 0
            for member in members:
                path = folder / _inside(member.name, archive)
                if not (path.is_file() and path.stat().st_size == member.size):
                    with content(member) as source:
                        _write(path, source)
                    written += 1
                done += member.size
                report.progress(f"unpacking {archive.name}", done, total)
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError) as error:
        raise UserError(f"{archive} is damaged ({error})") from error
    except RuntimeError as error:  # what zipfile raises for a password or a method that it does not have
        raise UserError(f"{archive} is encrypted or packed by an unusual method ({error})") from error
    return written


@contextmanager
def _opened(archive: Path) -> Iterator[tuple[list[_Member], Callable[[_Member], IO[bytes]]]]:
    """The files in an archive, and a function that opens one."""
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive) as file:
            infos = [info for info in file.infolist() if not info.is_dir()]
            found = [_Member(info.filename, info.file_size, info) for info in infos]
            yield found, lambda member: file.open(member.content)
        return
    with tarfile.open(archive) as file:
        infos = [info for info in file.getmembers() if not info.isdir()]
        if odd := [info.name for info in infos if not info.isreg()]:
            raise UserError(f"{archive}: {odd[0]} is a link or a device, and is not unpacked")
        found = [_Member(info.name, info.size, info) for info in infos]
        yield found, lambda member: file.extractfile(member.content)


def _inside(name: str, archive: Path) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\\" in name or "\0" in name:
        raise UserError(f"{archive}: {name!r} would lie outside of the folder, and is not unpacked")
    return path


def _write(path: Path, source: IO[bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f".{path.name}.part")
    try:
        with open(half, "wb") as file:
            shutil.copyfileobj(source, file)
        os.replace(half, path)
    except OSError as error:
        error.filename = error.filename or str(path)  # a failed write does not know its file
        raise
    finally:
        half.unlink(missing_ok=True)
