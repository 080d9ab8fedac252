"""The line of every key in a TOML text, which the standard library's parser does not tell."""

import re

Path = tuple[str | int, ...]

_HEADER = re.compile(r"\s*(\[\[?)([^\[\]]+)\]\]?\s*(?:#.*)?$")
_KEY = re.compile(
    r"""\s*((?:"[^"]*"|'[^']*'|[A-Za-z0-9_-]+)(?:\s*\.\s*(?:"[^"]*"|'[^']*'|[A-Za-z0-9_-]+))*)\s*="""
)
_PART = re.compile(r"""\s*(?:"([^"]*)"|'([^']*)'|([A-Za-z0-9_-]+))\s*\.?""")
_STRING = re.compile(r'"(?:\\.|[^"\\])*"|\'[^\']*\'')


def lines(text: str) -> dict[Path, int]:
    """Maps the path of a key, such as ("row", 2, "cells", "params"), to its line, both counted from 1."""
    found: dict[Path, int] = {}
    counts: dict[str, int] = {}
    table: Path = ()
    for number, line in _statements(text):
        header, key = _HEADER.match(line), _KEY.match(line)
        if header:
            table = _table_path(header, counts)
            found.setdefault(table, number)
        elif key:
            found.setdefault(table + _parts(key.group(1)), number)
    return found


def line_of(found: dict[Path, int], path: Path) -> int:
    """The line of `path`, or of the nearest enclosing key that has one; 1 if none has."""
    while path:
        if path in found:
            return found[path]
        path = path[:-1]
    return 1


def _statements(text: str) -> list[tuple[int, str]]:
    """The lines on which a statement starts, without those inside arrays and strings that span several."""
    starts: list[tuple[int, str]] = []
    depth, quote = 0, None
    for number, line in enumerate(text.splitlines(), start=1):
        if quote is None and depth == 0:
            starts.append((number, line))
        rest, quote = _outside_strings(line, quote)
        if not _HEADER.match(line) or depth:
            depth += sum(rest.count(mark) for mark in "[{") - sum(rest.count(mark) for mark in "]}")
    return starts


def _outside_strings(line: str, quote: str | None) -> tuple[str, str | None]:
    """The line without strings and comments, and the triple quote that is still open at its end."""
    kept = ""
    while True:
        if quote is not None:
            end = line.find(quote)
            if end < 0:
                return kept, quote
            line, quote = line[end + 3 :], None
        opening = min((at for at in (line.find('"""'), line.find("'''")) if at >= 0), default=-1)
        head = line if opening < 0 else line[:opening]
        head = _STRING.sub("", head)
        if "#" in head:
            return kept + head[: head.index("#")], None
        kept += head
        if opening < 0:
            return kept, None
        quote, line = line[opening : opening + 3], line[opening + 3 :]


def _table_path(header: re.Match, counts: dict[str, int]) -> Path:
    """("row", 2) for the second [[row]], ("row", 2, "cells") for a [row.cells] below it."""
    name, *rest = _parts(header.group(2))
    if header.group(1) == "[[":
        counts[name] = counts.get(name, 0) + 1
    return (name, counts[name], *rest) if name in counts else (name, *rest)


def _parts(key: str) -> Path:
    return tuple(next(part for part in match.groups() if part is not None) for match in _PART.finditer(key))
