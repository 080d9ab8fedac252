"""Checks on parsed TOML that name the file, the line and the key in what they raise."""

from collections.abc import Collection

from tables.locate import Path, line_of, lines
from tables.names import nearest

_KINDS = {
    str: "a string",
    list: "a list",
    dict: "a table",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
}


class RecordError(ValueError):
    """A table that does not exist, or a record that is wrong: `file:line: key: what is wrong`."""


class Reader:
    """The checks for one file. A path such as ("row", 2, "label") names a key; tables count from 1."""

    def __init__(self, shown: str, text: str) -> None:
        self.shown = shown
        self._lines = lines(text)

    def error(self, path: Path, message: str) -> RecordError:
        """The error for the key at `path`."""
        key = ".".join(f"[{part}]" if isinstance(part, int) else part for part in path).replace(".[", "[")
        return RecordError(f"{self.shown}:{line_of(self._lines, path)}: {key}: {message}")

    def keys(self, path: Path, data: dict, required: dict[str, type], optional: dict[str, type]) -> None:
        """All of `required` and nothing but `required` and `optional` is there, with the right types."""
        known = required | optional
        for key, value in data.items():
            if key not in known:
                raise self.error((*path, key), f"unknown key{nearest(key, known)}")
            if not _is(value, known[key]):
                raise self.error((*path, key), f"must be {_KINDS[known[key]]}, not {value!r}")
        for key in required:
            if key not in data:
                raise self.error((*path, key), "missing")

    def items(self, key: str, data: dict) -> list[tuple[Path, dict]]:
        """The tables written [[key]], each with its path."""
        found = data.get(key, [])
        for at, item in enumerate(found, start=1):
            if not isinstance(item, dict):
                raise self.error((key, at), f"must be a table, written [[{key}]]")
        return [((key, at), item) for at, item in enumerate(found, start=1)]

    def texts(self, path: Path, found: list) -> tuple[str, ...]:
        """A list of strings, each on one line."""
        for at, text in enumerate(found, start=1):
            if not isinstance(text, str):
                raise self.error((*path, at), f"must be a string, not {text!r}")
        return tuple(" ".join(text.split()) for text in found)

    def one_of(self, path: Path, what: str, name: str, known: Collection[str]) -> None:
        """`name` is one of `known`; else the error says that the `what` is unknown and which are near."""
        if name not in known:
            raise self.error(path, f"unknown {what} {name!r}{nearest(name, known)}")

    def unique(self, part: str, key: str, names: list[str]) -> None:
        """No two of the tables [[part]] have the same `key`."""
        for at, name in enumerate(names, start=1):
            if name in names[: at - 1]:
                message = f"duplicate {part} {name!r}, already {part} {names.index(name) + 1}"
                raise self.error((part, at, key), message)

    def within(self, path: Path, number: int, rows: int) -> None:
        """`number` is the number of a row."""
        if not 1 <= number <= rows:
            raise self.error(path, f"there is no row {number}; rows count from 1 to {rows}")


def _is(value: object, kind: type) -> bool:
    if isinstance(value, bool) or kind is bool:
        return isinstance(value, bool) and kind is bool
    return isinstance(value, (int, float) if kind is float else kind)
