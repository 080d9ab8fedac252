"""Zip archives whose members are fetched by position: no shared file offset, so no lock is needed."""

from __future__ import annotations

import io
import os
import struct
import zipfile
import zlib
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from bench.errors import UserError

_HEADER = struct.Struct("<4s5H3L2H")
_ENCRYPTED = 1
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_DAMAGE = (zipfile.BadZipFile, EOFError, NotImplementedError, ValueError, struct.error, OverflowError)
"""What zipfile raises for an index that is cut or overwritten."""


class UnreadableFile(UserError):
    """A file that cannot be decoded; `skip_corrupt=True` leaves its sample out."""


class Member(NamedTuple):
    """A file in an archive: where its header is in the file on disk, its sizes in bytes, method and CRC."""

    name: str
    offset: int
    packed: int
    size: int
    method: int
    crc: int


class Archive:
    """The index of one zip. members: path in the archive -> `Member`, without folders and macOS's doubles."""

    def __init__(self, path: Path, start: int = 0, length: int | None = None, inside: str = "") -> None:
        self.path, self._file = path / inside if inside else path, path
        try:
            with open(path, "rb") as file:
                part = file if length is None else _Part(file, start, length)
                with zipfile.ZipFile(part) as archive:
                    infos = archive.infolist()
        except _DAMAGE as error:
            raise UserError(f"{self.path}: not a whole zip archive ({error})") from error
        self._descriptor = _opened(path)
        members = (self._member(info, start) for info in infos if _is_data(info))
        self.members = {member.name: member for member in members}

    @classmethod
    def of(cls, path: Path) -> Archive:
        """The archive in a file; its index is kept while the file stays as it is."""
        state = path.stat()
        return _archive(path.absolute(), state.st_size, state.st_mtime_ns)

    def nested(self, member: Member) -> Archive:
        """The archive that is stored, uncompressed, as a member of this one."""
        return Archive(self._file, self._start(member), member.packed, member.name)

    def read(self, member: Member) -> bytes:
        """The content of a member. Raises UnreadableFile where it is damaged."""
        data = self._bytes(self._start(member), member.packed)
        try:
            if member.method == zipfile.ZIP_STORED:
                content = data
            else:  # no more than the index promises, whatever the data would unpack to
                content = zlib.decompressobj(-15).decompress(data, member.size + 1)
        except zlib.error as error:
            raise UnreadableFile(f"{self.path}/{member.name}: damaged in the archive ({error})") from error
        if len(content) != member.size or zlib.crc32(content) != member.crc:
            raise UnreadableFile(f"{self.path}/{member.name}: damaged in the archive (its checksum is wrong)")
        return content

    def _member(self, info: zipfile.ZipInfo, start: int) -> Member:
        if info.flag_bits & _ENCRYPTED or info.compress_type not in _METHODS:
            raise UserError(f"{self.path}: {info.filename} is encrypted or packed by an unusual method")
        return Member(
            _slashed(info), start + info.header_offset, info.compress_size, info.file_size,
            info.compress_type, info.CRC,
        )  # fmt: skip

    def _start(self, member: Member) -> int:
        """Where the data of a member begin: after its own header, whose length the index does not tell."""
        header = self._bytes(member.offset, _HEADER.size) if member.offset >= 0 else b""
        if len(header) < _HEADER.size or header[:4] != b"PK\x03\x04":
            raise UnreadableFile(f"{self.path}/{member.name}: damaged in the archive (no header)")
        *_, name, extra = _HEADER.unpack(header)
        return member.offset + _HEADER.size + name + extra

    def _bytes(self, offset: int, length: int) -> bytes:
        if self._descriptor is None:
            with open(self._file, "rb") as file:
                file.seek(offset)
                return file.read(length)
        parts = []
        while length:  # a single call returns 2 GB at most
            parts.append(os.pread(self._descriptor, length, offset))
            if not parts[-1]:
                break
            offset, length = offset + len(parts[-1]), length - len(parts[-1])
        return b"".join(parts)

    def __del__(self) -> None:
        if self.__dict__.get("_descriptor") is not None:
            os.close(self._descriptor)


def _opened(path: Path) -> int | None:
    """A descriptor for reads by position, which forked workers may share; None on Windows, which has none."""
    return os.open(path, os.O_RDONLY) if hasattr(os, "pread") else None


@lru_cache(maxsize=32)
def _archive(path: Path, size: int, changed: int) -> Archive:
    return Archive(path)


def _is_data(info: zipfile.ZipInfo) -> bool:
    folder, _, name = _slashed(info).rpartition("/")
    return bool(name) and not is_hidden(name) and folder.partition("/")[0] != "__MACOSX"


def _slashed(info: zipfile.ZipInfo) -> str:
    """The path in the archive; some tools of Windows write it with backslashes."""
    return info.filename.replace("\\", "/")


def is_hidden(name: str) -> bool:
    """Whether a file of this name is none of a data set: macOS leaves ._NAME beside NAME on foreign disks."""
    return name.startswith(".")


class _Part(io.RawIOBase):
    """The `length` bytes of `file` from `start` on, as a file of its own."""

    def __init__(self, file: io.BufferedReader, start: int, length: int) -> None:
        self._file, self._start, self._length, self._place = file, start, length, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = 0) -> int:
        base = {0: 0, 1: self._place, 2: self._length}[whence]
        if base + offset < 0:
            raise OSError(22, "negative position")
        self._place = base + offset
        return self._place

    def read(self, size: int = -1) -> bytes:
        left = max(self._length - self._place, 0)
        self._file.seek(self._start + self._place)
        data = self._file.read(left if size is None or size < 0 else min(size, left))
        self._place += len(data)
        return data
