"""The record of one printed table: rows, columns and cells as the paper prints them."""

import re
from dataclasses import dataclass, field
from decimal import Decimal

# A printed number: "47.2", "1,317", "48.7 ± 0.1", "18G".
_NUMBER = re.compile(
    r"(?P<value>-?\d{1,3}(?:,\d{3})+(?:\.\d+)?|-?\d+(?:\.\d+)?)"
    r"(?:\s*(?:±|\+/-)\s*(?P<spread>\d+(?:\.\d+)?))?"
    r"\s*(?P<suffix>[A-Za-z%]*)"
)
_BLANKS = frozenset({"-", "–", "—", ""})


@dataclass(frozen=True, kw_only=True)
class Printed:
    """A number as printed: its text, value, digits after the point, and what stands behind ±, if anything."""

    text: str
    value: Decimal
    decimals: int
    spread: Decimal | None = None
    suffix: str = ""


def parse(text: str) -> Printed | None:
    """Reads a printed number; None for a dash or nothing. Raises ValueError for anything else."""
    stripped = text.strip()
    if stripped in _BLANKS:
        return None
    found = _NUMBER.fullmatch(stripped)
    if not found:
        raise ValueError(f'{text!r} is not a printed number, such as "47.2", "1,317", "48.7 ± 0.1" or "18G"')
    value = Decimal(found["value"].replace(",", ""))
    spread = Decimal(found["spread"]) if found["spread"] else None
    decimals = max(0, -value.as_tuple().exponent)
    return Printed(text=stripped, value=value, decimals=decimals, spread=spread, suffix=found["suffix"])


@dataclass(frozen=True, kw_only=True)
class Paper:
    """A paper: `id` as in file names and commands, `name` as people call it."""

    id: str
    name: str
    title: str
    authors: str
    venue: str


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """How far from the printed number is still `~`: a fraction of it, or an amount of its unit."""

    relative: float | None = None
    absolute: float | None = None

    def holds(self, measured: Decimal, published: Decimal) -> bool:
        """Whether `measured` is as near to `published` as declared."""
        distance = abs(measured - published)
        if self.relative is not None and distance <= Decimal(str(self.relative)) * abs(published):
            return True
        return self.absolute is not None and distance <= Decimal(str(self.absolute))


@dataclass(frozen=True, kw_only=True)
class Column:
    """One printed column: what is measured, on which data, by which protocol, with which tolerance.

    `size` is the image size (height, width) of a protocol that has one; `also` names a second protocol of
    the same metric that is reported beside it.
    """

    id: str
    label: str
    metric: str
    unit: str
    protocol: str
    tolerance: Tolerance
    dataset: str
    split: str | None = None
    size: tuple[int, int] | None = None
    also: str | None = None


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One printed cell: `printed` is None for a dash. `reason` says why our number differs, where that is
    known.
    """

    column: str
    text: str
    printed: Printed | None
    printed_delta: str | None = None
    reason: str | None = None
    contradicted: bool = False


@dataclass(frozen=True, kw_only=True)
class Row:
    """One printed line, counted from 1.

    `preset` names the preset for each data set and `overrides` the dotted paths changed in it; `unbuildable`
    says why where there is none.
    """

    number: int
    label: str
    provenance: str
    cells: dict[str, Cell]
    preset: dict[str, str] = field(default_factory=dict)
    overrides: dict[str, object] = field(default_factory=dict)
    variant: str | None = None
    notes: tuple[str, ...] = ()
    unbuildable: str | None = None


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A sentence of the paper about two rows: `row` exceeds `minus` by `value` in `column`."""

    where: str
    column: str
    row: int
    minus: int
    value: Printed


@dataclass(frozen=True, kw_only=True)
class TableRecord:
    """A printed table. `paper` and `table` name it on the command line; `file` is where it was read from."""

    paper: str
    table: str
    title: str
    source: str
    file: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    claims: tuple[Claim, ...] = ()
    deviations: tuple[str, ...] = ()

    @property
    def cells(self) -> list[tuple[Row, Column, Cell]]:
        """Every printed number, line by line; dashes are left out."""
        return [
            (row, column, row.cells[column.id])
            for row in self.rows
            for column in self.columns
            if column.id in row.cells and row.cells[column.id].printed is not None
        ]

    def row(self, number: int) -> Row:
        """The row with this number, from 1. Raises KeyError."""
        if not 1 <= number <= len(self.rows):
            raise KeyError(number)
        return self.rows[number - 1]

    def column(self, name: str) -> Column:
        """The column with this id. Raises KeyError."""
        for column in self.columns:
            if column.id == name:
                return column
        raise KeyError(name)
