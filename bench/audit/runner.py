"""Runs every rule over the record."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType

import tables
from bench.audit.finding import GRADES, HARD, RIGHT, Check
from bench.audit.rules import RULES
from tables import TableRecord

# Rules by which a number that agrees is confirmed; the others only bound it.
CONFIRMING = ("deltas", "claims", "mentions", "parts", "means", "totals", "same_quantity")


@dataclass(frozen=True)
class Ruling:
    """A rule and what it found. `name`, `title` and `says` are those of the rule's module."""

    name: str
    title: str
    says: str
    checks: tuple[Check, ...]

    @property
    def counts(self) -> dict[str, int]:
        """How many checks have each grade, right ones included."""
        found = Counter(check.grade for check in self.checks)
        return {grade: found[grade] for grade in (RIGHT, *GRADES)}

    def of(self, grade: str) -> list[Check]:
        return [check for check in self.checks if check.grade == grade]


@dataclass(frozen=True)
class Audit:
    """All rulings over `tables` tables with `numbers` printed numbers."""

    rulings: tuple[Ruling, ...]
    tables: int
    numbers: int

    def count(self, grade: str) -> int:
        return sum(ruling.counts[grade] for ruling in self.rulings)

    @property
    def checked(self) -> int:
        return sum(len(ruling.checks) for ruling in self.rulings)


def everything() -> list[TableRecord]:
    """Every table of every paper. Raises RecordError."""
    return [tables.load(paper, table) for paper in tables.papers() for table in tables.tables(paper)]


def audit(records: Sequence[TableRecord] | None = None, rules: Sequence[ModuleType] = RULES) -> Audit:
    """Checks `records`, by default the whole record. Raises RecordError for a broken table."""
    records = everything() if records is None else records
    rulings = (Ruling(rule.NAME, rule.TITLE, rule.SAYS, tuple(rule.check(records))) for rule in rules)
    return Audit(tuple(rulings), len(records), sum(len(record.cells) for record in records))


def contradicted(found: Audit) -> dict[tuple[str, str, int, str], str]:
    """The printed numbers that hard findings dispute: paper, table, row and column -> why.

    What a verdict `!` needs. Of the numbers that a finding disputes, those that another rule confirms stay
    in force, as long as one is left. A wrong difference or a wrong sentence disputes no number of a table.
    """
    confirmed: dict[tuple[str, str, int, str], set[str]] = {}
    for ruling in found.rulings:
        for check in ruling.of(RIGHT) if ruling.name in CONFIRMING else ():
            for place in check.places:
                confirmed.setdefault(place.key, set()).add(ruling.name)
    reasons: dict[tuple[str, str, int, str], str] = {}
    for ruling in found.rulings:
        for check in ruling.of(HARD):
            others = {place: confirmed.get(place.key, set()) - {ruling.name} for place in check.disputed}
            doubtful = [place for place, rules in others.items() if not rules]
            for place in doubtful or check.disputed:
                reasons.setdefault(place.key, f"{ruling.title}: {check.arithmetic}")
    return reasons
