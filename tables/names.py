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


def natural(name: str) -> tuple:
    """Sorts "4", "4a", "10" in this order."""
    return tuple(
        (int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name) if part
    )
