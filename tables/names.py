"""Names as people type them: the nearest known ones, and table numbers as printed."""

import difflib
import re
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str], count: int = 3) -> str:
    """The known names closest to `name`, as the end of an error message.

    With `known` = ["faseg", "pft"] and `name` = "fasge" this is "; nearest: faseg". Where nothing is close,
    all known names are listed, or "; there are none" if there are none.
    """
    names = sorted(set(known))
    close = difflib.get_close_matches(name.lower(), names, n=count, cutoff=0.5)
    if close:
        return "; nearest: " + ", ".join(close)
    return "; known: " + ", ".join(names) if names else "; there are none"


def table_id(text: str) -> str:
    """A table as named in files and commands: "Table 4" -> "4", "B.2" -> "b2", "Fig. 1" -> "fig1"."""
    return re.sub(r"[\s.]", "", text.lower()).removeprefix("table")


def printed_name(name: str) -> str:
    """A table as papers name it, from its name in files: "Table 4a", "Table XIb", "Table B.2", "Figure I"."""
    kind, number = ("Figure", name[3:]) if name.startswith("fig") else ("Table", name)
    if roman := re.fullmatch(r"([ivx]+)([a-d]?)", number):
        return f"{kind} {roman[1].upper()}{roman[2]}"
    if appendix := re.fullmatch(r"([a-z])(\d+)", number):
        return f"{kind} {appendix[1].upper()}.{appendix[2]}"
    return f"{kind} {number}" if number[:1].isdigit() else number.capitalize()


def natural(name: str) -> tuple:
    """Sorts "4", "4a", "10", then Roman numerals "iv", "ix", "xa", "xib", then "b2", "b10", as papers have
    them.
    """
    roman = re.fullmatch(r"(x{0,3})(ix|iv|v?i{0,3})([a-d]?)", name)
    if roman and roman[1] + roman[2]:
        number = 10 * len(roman[1]) + _UNITS.index(roman[2])
        return ((_ROMAN + number, ""), (_WORD, roman[3]))
    return tuple(
        (int(part), "") if part.isdigit() else (_WORD, part) for part in re.split(r"(\d+)", name) if part
    )


_UNITS = ("", "i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix")
_ROMAN, _WORD = 1_000, 10_000  # Roman numerals come after numbers, words last
