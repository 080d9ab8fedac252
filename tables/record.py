"""The record of one printed table: rows, columns and cells as the paper prints them."""

import re
from dataclasses import dataclass, field
from decimal import Decimal

from tables.names import printed_name

# A printed number: "47.2", "1,317", "48.7 ± 0.1", "18G", "512²", "6e-5", "+1.0", "100 queries", "67.5*".
_NUMBER = re.compile(
    r"(?P<value>[-+]?\d{1,3}(?:,\d{3})+(?:\.\d+)?|[-+]?\d+(?:\.\d+)?(?:e-?\d+)?)"
    r"(?:\s*(?:±|\+/-)\s*(?P<spread>\d+(?:\.\d+)?))?"
    r"\s*(?P<suffix>(?:[A-Za-z]+ )?[A-Za-z%²]*)(?P<mark>\*?)"
)
_SQUARE = re.compile(r"^(\d+) × \1$")  # "512 × 512": the side of a square
_PHASES = re.compile(r"(\d+)\+(\d+)")  # "500+25": epochs after epochs
_BLANKS = frozenset({"-", "–", "—", ""})


@dataclass(frozen=True, kw_only=True)
class Printed:
    """A number as printed: its text, value, digits after the point, and what stands behind ±, if anything.

    `mark` is the star that some papers set behind a number; the row's notes say what it means.
    """

    text: str
    value: Decimal
    decimals: int
    spread: Decimal | None = None
    suffix: str = ""
    mark: str = ""


def parse(text: str) -> Printed | None:
    """Reads a printed number; None for a dash or nothing. Raises ValueError for anything else."""
    stripped = text.strip()
    if stripped in _BLANKS:
        return None
    number = _SQUARE.sub(r"\1", stripped)
    if phases := _PHASES.fullmatch(number):
        number = str(int(phases[1]) + int(phases[2]))
    found = _NUMBER.fullmatch(number)
    if not found:
        raise ValueError(f'{text!r} is not a printed number, such as "47.2", "1,317", "48.7 ± 0.1" or "18G"')
    value = Decimal(found["value"].replace(",", ""))
    spread = Decimal(found["spread"]) if found["spread"] else None
    decimals = max(0, -value.as_tuple().exponent)
    return Printed(
        text=stripped,
        value=value,
        decimals=decimals,
        spread=spread,
        suffix=found["suffix"],
        mark=found["mark"],
    )


@dataclass(frozen=True, kw_only=True)
class Paper:
    """A paper: `id` as in file names and commands, `name` as people call it; `caution` is what the front page
    says beside its verdicts, such as which of our parts were fitted to printed numbers."""

    id: str
    name: str
    title: str
    authors: str
    venue: str
    caution: str = ""


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

    `size` is the image size (height, width) of a protocol that has one, `batch` its number of images on one
    device; `also` names a second protocol of the same metric that is reported beside it. `preset` is the key
    of a row's preset for this column where that is not the data set. `setting` is the dotted path of a
    printed setting in a model's spec, or after "train." in its training recipe. `overrides` are dotted paths
    that the column changes in each row's model. `line` is the printed line of a table that is printed
    sideways, where several columns of the record share one.
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
    batch: int | None = None
    preset: str | None = None
    setting: str | None = None
    line: int | None = None
    overrides: dict[str, object] = field(default_factory=dict)

    @property
    def preset_key(self) -> str:
        """The key under which a row names its preset for this column."""
        return self.preset or self.dataset


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One printed cell: `printed` is None for a dash. `reason` says why our number differs, where that is
    known. `provenance` and `protocol` are those of the row and the column, unless this cell has its own.
    """

    column: str
    text: str
    printed: Printed | None
    provenance: str
    protocol: str
    printed_delta: str | None = None
    reason: str | None = None
    contradicted: bool = False


@dataclass(frozen=True, kw_only=True)
class Row:
    """One printed line, counted from 1; of a table printed sideways, one printed column.

    `preset` names the preset for each data set (or other key, see `Column.preset`) and `overrides` the
    dotted paths changed in it; `unbuildable` says why where there is none. `delta_from` is the row that its
    printed differences are counted from.
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
    delta_from: int | None = None


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A sentence of the paper about two rows: `row` exceeds `minus` by `value` in `column`.

    `minus` stands in `minus_column`, if that is another one. `relation` is "equal", or "at most", "less
    than" or "more than" where the sentence gives a bound.
    """

    where: str
    column: str
    row: int
    minus: int
    value: Printed
    minus_column: str | None = None
    relation: str = "equal"


@dataclass(frozen=True, kw_only=True)
class Mention:
    """A number of the table that the paper's text repeats: the cell of `row` and `column`, there `value`."""

    where: str
    column: str
    row: int
    value: Printed


@dataclass(frozen=True, kw_only=True)
class TableRecord:
    """A printed table. `paper` and `table` name it on the command line; `file` is where it was read from.

    A table printed `sideways` has a line for each metric: its lines are our columns, and its columns our
    rows, from left to right. `mini` says when its rows are trained small: "always" the table is regenerated,
    or "on request"; None where they cannot be, or are no variants of one model.
    """

    paper: str
    table: str
    title: str
    source: str
    file: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    claims: tuple[Claim, ...] = ()
    mentions: tuple[Mention, ...] = ()
    deviations: tuple[str, ...] = ()
    sideways: bool = False
    mini: str | None = None

    @property
    def name(self) -> str:
        """The table as the paper names it: "Table 4", "Table B.2", "Figure I"."""
        return printed_name(self.table)

    @property
    def cells(self) -> list[tuple[Row, Column, Cell]]:
        """Every printed number, line by line; dashes are left out."""
        found = [
            (row, column, row.cells[column.id])
            for row in self.rows
            for column in self.columns
            if column.id in row.cells and row.cells[column.id].printed is not None
        ]
        return sorted(found, key=lambda cell: self.line(*cell[:2])[0])

    def line(self, row: Row, column: Column) -> tuple[int, str]:
        """Number and label of the printed line that holds a cell: the row's, or sideways the column's."""
        if not self.sideways:
            return row.number, row.label
        return column.line or self.columns.index(column) + 1, column.label

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
