"""Large JSON files a piece at a time: the elements of their arrays and where they are, never the whole."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from bench.data.archive import AnyPath
from bench.errors import UserError

_CHUNK = 1 << 22
_CUT = 2
"""A number that ends so near to the end of a window may go on there: of 1e+5, "1e+" reads as 1."""
_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\n\r]*")


class Element(NamedTuple):
    """An element of the array `key`; its text is `length` bytes from `start` on."""

    key: str
    value: Any
    start: int
    length: int


class JsonFile:
    """A JSON file whose values can be fetched again by their place.

    A file on disk is read at these places; one in a zip is unpacked into memory and kept there.
    """

    def __init__(self, path: AnyPath) -> None:
        self.path = path
        self._content: bytes | None = None

    def elements(self, keys: Collection[str]) -> Iterator[Element]:
        """The elements of the arrays `keys` of the object in the file, in its order.

        Raises UserError naming the file: none there, not JSON, not an object, an array that is not there.
        """
        missing = set(keys)
        with self._open() as file:
            text = _Text(file, self.path)
            for key, values in _members(text):
                if key in keys:
                    missing.discard(key)
                    yield from (Element(key, *found) for found in values)
                else:
                    for _ in values:  # must be gone through to find their end
                        pass
        if missing:
            raise UserError(f"{self.path}: has no array '{min(missing)}'")

    def values(self, places: Iterable[tuple[int, int]]) -> list[Any]:
        """The elements at places (start, length). Raises UserError where the file is another one by now."""
        found = []
        with self._open() as file:
            for start, length in places:
                file.seek(start)
                try:
                    found.append(json.loads(file.read(length)))
                except ValueError as error:
                    raise UserError(f"{self.path}: changed since it was opened ({error})") from error
        return found

    def _open(self) -> BinaryIO:
        try:
            if isinstance(self.path, Path):
                return self.path.open("rb")
            if self._content is None:
                self._content = self.path.read_bytes()
            return BytesIO(self._content)
        except FileNotFoundError:
            raise UserError(f"{self.path}: no such file") from None

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "_content": None}


def _members(text: _Text) -> Iterator[tuple[str, _Elements]]:
    """The keys of the object whose values are arrays, with their elements, all of which must be taken."""
    place = text.expect(0, "{")
    char, place = text.peek(place)
    more = char != "}"
    while more:
        key, place = text.value(place)
        char, place = text.peek(text.expect(place, ":"))
        if char == "[":
            values = _Elements(text, place)
            yield key, values
            place = values.end
        else:
            _, place = text.value(place)
        more, place = text.more(place, "}")


class _Elements:
    """The elements (value, start, length) of the array that begins at `end`, which is after it in the end."""

    def __init__(self, text: _Text, end: int) -> None:
        self.text, self.end = text, end

    def __iter__(self) -> Iterator[tuple[Any, int, int]]:
        char, place = self.text.peek(self.end + 1)
        more, self.end = char != "]", place + 1
        while more:
            value, end = self.text.value(place)
            yield value, place, end - place
            more, place = self.text.more(end, "]")
            self.end = place


class _Text:
    """A window on a file, as text in which every byte is a character, so that places are the file's."""

    def __init__(self, file: BinaryIO, path: AnyPath) -> None:
        self._file, self._path = file, path
        self._start, self._text, self._last = 0, "", False

    def value(self, place: int) -> tuple[Any, int]:
        """The value that begins at `place`, and where it ends."""
        self._hold(place, 1)
        while True:
            first = place - self._start
            try:
                value, end = _DECODER.raw_decode(self._text, first)
            except (ValueError, RecursionError) as error:
                if self._last or isinstance(error, RecursionError):
                    raise self.fault(place, str(error)) from error
            else:
                if end + _CUT < len(self._text) or self._last:
                    return self._proper(value, first, end), self._start + end
            self._hold(place, 2 * (len(self._text) - first) + 1)  # it is longer than the window

    def peek(self, place: int) -> tuple[str, int]:
        """The first character from `place` on that is no space ("" at the end), and its place."""
        while True:
            self._hold(place, 1)
            place = self._start + _SPACE.match(self._text, place - self._start).end()
            inside = place - self._start
            if inside < len(self._text) or self._last:
                return self._text[inside : inside + 1], place

    def expect(self, place: int, wanted: str) -> int:
        """The place after the character that must come next."""
        char, place = self.peek(place)
        if char != wanted:
            raise self.fault(place, f"expected '{wanted}'")
        return place + 1

    def more(self, place: int, close: str) -> tuple[bool, int]:
        """Whether another item comes, and its place, or else that after the closing bracket."""
        char, place = self.peek(place)
        if char not in (",", close):
            raise self.fault(place, f"expected ',' or '{close}'")
        return (True, self.peek(place + 1)[1]) if char == "," else (False, place + 1)

    def fault(self, place: int, text: str) -> UserError:
        return UserError(f"{self._path}: not JSON of an object of arrays (at byte {place}: {text})")

    def _proper(self, value: Any, first: int, end: int) -> Any:
        """The value with its strings in UTF-8."""
        text = self._text[first:end]
        return value if text.isascii() else json.loads(text.encode("latin-1"))

    def _hold(self, place: int, size: int) -> None:
        """Has `size` characters from `place` on in the window, or all to the end of the file."""
        inside = self._start <= place and place + size <= self._start + len(self._text)
        if inside or (self._last and place >= self._start):
            return
        self._file.seek(place)
        size = max(size, _CHUNK)
        content = self._file.read(size)
        self._start, self._text, self._last = place, content.decode("latin-1"), len(content) < size
