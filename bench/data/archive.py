"""Data sets in folders, in their official zips, or in folders of such zips, behind one kind of path.

A zip at FOLDER/any.zip counts as unpacked in FOLDER; files beside it win over files in it. Nothing is
written: an index is read once and members are fetched by position, so that threads and forked or spawned
workers may share one root.
"""

from __future__ import annotations

import errno
import fnmatch
import os
from collections.abc import Iterator
from functools import lru_cache
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple

from bench.data.zipped import Archive, Member, is_hidden
from bench.errors import UserError


class Size(NamedTuple):
    """What `Zipped.stat` tells."""

    st_size: int


class Tree:
    """The merged content of `base` (a folder, or None for a single zip) and of the zips in it.

    members: path -> (archive, member); folders: path -> names in it. Paths are relative, "" is the root.
    """

    def __init__(self, place: Path, base: Path | None, archives: list[tuple[str, Archive]]) -> None:
        self.place, self.base = place, base
        self.members: dict[str, tuple[Archive, Member]] = {}
        self.folders: dict[str, set[str]] = {"": set()}
        for folder, archive in archives:
            for name, member in archive.members.items():
                self._add(f"{folder}/{name}" if folder else name, archive, member)

    def _add(self, path: str, archive: Archive, member: Member) -> None:
        if path in self.members:
            return
        self.members[path] = archive, member
        while path:
            folder, _, name = path.rpartition("/")
            known = self.folders.setdefault(folder, set())
            if name in known:
                return
            known.add(name)
            path = folder

    def beside(self, path: str) -> Path | None:
        """The unpacked file or folder at `path`, if there is one."""
        found = self.base / path if self.base is not None else None
        return found if found is not None and found.exists() else None


class Zipped:
    """A path into a `Tree`, with the part of `pathlib.Path` that reading a data set takes."""

    __slots__ = ("path", "tree")

    def __init__(self, tree: Tree, path: str = "") -> None:
        self.tree, self.path = tree, path

    def __truediv__(self, name: str) -> Zipped:
        joined = os.path.normpath(f"{self.path}/{name}" if self.path else name).replace(os.sep, "/")
        if joined.startswith("..") or joined.startswith("/"):
            raise UserError(f"{self}/{name}: outside of the data set")
        return Zipped(self.tree, "" if joined == "." else joined)

    def __str__(self) -> str:
        if self.path in self.tree.members and self.tree.beside(self.path) is None:
            archive, member = self.tree.members[self.path]
            return f"{archive.path}/{member.name}"
        return str(self.tree.place / self.path)

    def __repr__(self) -> str:
        return f"Zipped({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Zipped) and (self.tree.place, self.path) == (other.tree.place, other.path)

    def __hash__(self) -> int:
        return hash((self.tree.place, self.path))

    def __lt__(self, other: Zipped) -> bool:
        return self.path < other.path

    def __reduce__(self) -> tuple[object, ...]:
        return _reopened, (self.tree.place, self.path)

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def stem(self) -> str:
        return PurePosixPath(self.name).stem

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.name).suffix

    @property
    def parent(self) -> Zipped:
        return Zipped(self.tree, self.path.rpartition("/")[0])

    def with_name(self, name: str) -> Zipped:
        return self.parent / name

    def exists(self) -> bool:
        known = self.path in self.tree.members or self.path in self.tree.folders
        return known or self.tree.beside(self.path) is not None

    def is_file(self) -> bool:
        beside = self.tree.beside(self.path)
        return self.path in self.tree.members if beside is None else beside.is_file()

    def is_dir(self) -> bool:
        beside = self.tree.beside(self.path)
        return self.path in self.tree.folders if beside is None else beside.is_dir()

    def iterdir(self) -> Iterator[Zipped]:
        """The files and folders in this one, in no order. Raises FileNotFoundError."""
        beside = self.tree.beside(self.path)
        if beside is None and self.path not in self.tree.folders:
            raise self._missing()
        names = set(self.tree.folders.get(self.path, ()))
        names.update(path.name for path in beside.iterdir()) if beside is not None else None
        prefix = f"{self.path}/" if self.path else ""
        return (Zipped(self.tree, prefix + name) for name in names)

    def glob(self, pattern: str) -> Iterator[Zipped]:
        """Paths below this one that match, a pattern a folder (no "**"), in no order."""
        first, _, rest = pattern.partition("/")
        if not self.is_dir():
            return
        for path in self.iterdir():
            if fnmatch.fnmatchcase(path.name, first):
                yield from path.glob(rest) if rest else (path,)

    def read_bytes(self) -> bytes:
        """The content. Raises FileNotFoundError, or UserError naming a zip that is damaged here."""
        beside = self.tree.beside(self.path)
        if beside is not None:
            return beside.read_bytes()
        if self.path not in self.tree.members:
            raise self._missing()
        archive, member = self.tree.members[self.path]
        return archive.read(member)

    def read_text(self, encoding: str = "utf-8") -> str:
        return self.read_bytes().decode(encoding)

    def open(self, mode: str = "rb") -> BinaryIO:
        """A file to read from, in memory. Raises as `read_bytes` does."""
        if mode != "rb":
            raise ValueError(f"mode {mode!r}: files of a data set are opened as 'rb'")
        return BytesIO(self.read_bytes())

    def stat(self) -> Size:
        """The size of the file in bytes. Raises FileNotFoundError."""
        beside = self.tree.beside(self.path)
        if beside is not None:
            return Size(beside.stat().st_size)
        if self.path not in self.tree.members:
            raise self._missing()
        return Size(self.tree.members[self.path][1].size)

    def outside(self) -> Path:
        """This path on the disk, beside what is in zips. Raises UserError where the root is a single zip."""
        if self.tree.base is None:
            raise UserError(
                f"{self.tree.place}: files cannot be made in a zip; give the folder that it is in"
            )
        return self.tree.base / self.path

    def _missing(self) -> FileNotFoundError:
        return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self))


AnyPath = Path | Zipped
"""What loaders read from."""


def open_root(path: str | os.PathLike | Zipped) -> AnyPath:
    """The root of a data set: a folder, a zip, or a folder with zips in it or one level down.

    A folder without zips, and a path where nothing is, come back as they are. Zips in zips count as unpacked
    too, where they were stored without compression. Raises UserError for a file that is no zip.
    """
    if isinstance(path, Zipped):
        return path
    path = Path(path)
    if path.is_file():
        return Zipped(Tree(path, None, _with_nested("", Archive.of(path))))
    if not path.is_dir():
        return path
    archives = []
    for folder in ("", *sorted(child.name for child in path.iterdir() if child.is_dir())):
        for file in sorted((path / folder).glob("*.zip")):
            if file.is_file() and not is_hidden(file.name):
                archives += _with_nested(folder, Archive.of(file))
    return Zipped(Tree(path, path, archives)) if archives else path


@lru_cache(maxsize=8)
def _root(place: Path) -> Zipped:
    return open_root(place)


def _reopened(place: Path, path: str) -> Zipped:
    """A path that came from another process, which reads the index itself, once."""
    return Zipped(_root(place).tree, path)


def _with_nested(folder: str, archive: Archive) -> list[tuple[str, Archive]]:
    """The archive and the zips in it, each with the folder that it counts as unpacked in."""
    found = [(folder, archive)]
    for name, member in archive.members.items():
        if name.endswith(".zip") and not member.method:
            inside = "/".join(part for part in (folder, name.rpartition("/")[0]) if part)
            found += _with_nested(inside, archive.nested(member))
    return found
