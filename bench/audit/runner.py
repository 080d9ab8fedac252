"""Runs every rule over the record."""

import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType, ModuleType

import tables
from bench.audit.finding import GRADES, HARD, RIGHT, Check, Place
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


def in_doubt(found: Audit) -> dict[Place, str]:
    """The printed numbers that hard findings dispute, and why.

    Of the numbers that a finding disputes, those that another rule confirms stay in force; where all are
    confirmed, those that count as wrong instead do not, or if there are none, all that are disputed. A wrong
    sentence disputes no number of a table.
    """
    confirmed: dict[Place, set[str]] = {}
    for ruling in found.rulings:
        for check in ruling.of(RIGHT) if ruling.name in CONFIRMING else ():
            for place in check.places:
                confirmed.setdefault(place, set()).add(ruling.name)
    reasons: dict[Place, str] = {}
    for ruling in found.rulings:
        for check in ruling.of(HARD):
            open_ones = [place for place in check.disputed if not confirmed.get(place, set()) - {ruling.name}]
            for place in open_ones or check.instead or check.disputed:
                reasons.setdefault(place, f"{ruling.title}: {check.arithmetic}.")
    return reasons


def contradicted(found: Audit) -> dict[tuple[str, str, int, str], str]:
    """What a verdict `!` needs: paper, table, row and column of the numbers in doubt -> why."""
    return {place.key: why for place, why in in_doubt(found).items()}


@functools.cache
def contradictions() -> Mapping[tuple[str, str, int, str], str]:
    """`contradicted` of the whole record, worked out once a process. Raises RecordError."""
    return MappingProxyType(contradicted(audit()))
