"""One quantity that several tables or papers print."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations, product

from bench.audit.finding import EXPLAINED, HARD, RIGHT, SOFT, Check, Printing, paper_name, printings
from bench.audit.interval import CUT, ROUNDED, WAYS, Interval
from bench.audit.subject import TRAINING, differing, in_base_units, kind, preset_of, words_of
from tables import TableRecord

NAME = "same_quantity"
TITLE = "One quantity, printed several times"
SAYS = (
    "Two numbers of the same metric, data set and split, of the same system (the same preset and overrides, "
    "or where one has no preset the same words in its label) and under no conditions that are printed "
    "differently agree as far as their digits go. Where a table prints several such numbers, one that agrees "
    "is enough. All numbers of one paper count as rounded alike. Numbers that depend on the machine are "
    "compared within a paper only."
)

VERSIONS = "no number that both rows print agrees: perhaps they are of two versions of the system"
PRESET, WORDS = "preset", "words"
_RANK = {RIGHT: 0, EXPLAINED: 1, SOFT: 2, HARD: 3}
Pair = tuple[Printing, Printing]
Judged = tuple[str, str, Pair]  # grade, cause, the two numbers


def check(records: Sequence[TableRecord]) -> Iterator[Check]:
    """One check for each number that another table prints too, by quantity; one finding for each quantity
    that is printed differently, or for two rows that differ in everything.
    """
    versions: list[Pair] = []
    for (*_, kind_of_key, _), bucket in _buckets(records).items():
        tables: dict[tuple[str, str], list[Printing]] = {}
        for one in bucket:
            tables.setdefault((one.record.paper, one.record.table), []).append(one)
        judged: list[Judged] = []
        for first, second in combinations(tables.values(), 2):
            judged += _between(first, second, by_words=kind_of_key == WORDS)
        versions += [pair for _, cause, pair in judged if cause == VERSIONS]
        yield from _checks([one for one in judged if one[1] != VERSIONS])
    yield from _rows_apart(versions)


def _buckets(records: Sequence[TableRecord]) -> dict[tuple, list[Printing]]:
    """Numbers that can be of one quantity: by preset, and where one has none, by the words of the label."""
    buckets: dict[tuple, list[Printing]] = {}
    for record in records:
        for one in printings(record):
            what = (one.column.metric, one.column.dataset)
            if kind(one) in ("trained", "measured"):
                what += (one.column.split, one.cell.protocol)
            preset = preset_of(one)
            if preset is not None:
                buckets.setdefault((*what, PRESET, preset), []).append(one)
            buckets.setdefault((*what, WORDS, words_of(one)), []).append(one)
    return {
        key: bucket for key, bucket in buckets.items() if key[-2] == PRESET or None in map(preset_of, bucket)
    }


def _between(first: list[Printing], second: list[Printing], by_words: bool) -> Iterator[Judged]:
    """The numbers of two tables that agree; if some on both sides have no match, the nearest two of those.

    `by_words` leaves out two numbers that have presets, which tell more than words.
    """
    pairs = [
        (*judge(one, other), (one, other))
        for one, other in product(first, second)
        if comparable(one, other) and not (by_words and None not in (preset_of(one), preset_of(other)))
    ]
    right = [judged for judged in pairs if judged[0] == RIGHT]
    yield from right
    matched = [part for _, _, pair in right for part in pair]
    open_pairs = [judged for judged in pairs if not any(part in matched for part in judged[2])]
    if open_pairs:
        yield min(open_pairs, key=lambda judged: _RANK[judged[0]])


def comparable(one: Printing, other: Printing) -> bool:
    """Whether two numbers of a bucket are of one quantity."""
    within = one.record.paper == other.record.paper
    if kind(one) in ("predicted", "measured"):
        return within and one.column.size == other.column.size and one.column.batch == other.column.batch
    different = differing(one, other) - {one.column.metric}
    if kind(one) == "configured":
        return "re-run" not in (one.cell.provenance, other.cell.provenance)
    return not (different if kind(one) == "trained" else different - set(TRAINING))


def judge(one: Printing, other: Printing) -> tuple[str, str]:
    """Grade and cause of two numbers of one quantity."""
    as_rounded = [in_base_units(part, ROUNDED) for part in (one, other)]
    if as_rounded[0].meets(as_rounded[1]):
        return RIGHT, ""
    within = one.record.paper == other.record.paper
    ways = [(CUT, CUT)] if within else [(left, right) for left in WAYS for right in WAYS]
    if any(in_base_units(one, left).meets(in_base_units(other, right)) for left, right in ways):
        return EXPLAINED, f"possible if {'both were' if within else 'one of them was'} cut off, not rounded"
    if one.column.metric == "flops" and _twice(*as_rounded):
        return EXPLAINED, "one is twice the other: a multiply-add counted as two operations"
    if not within and _agree_in_nothing(one, other):
        return SOFT, VERSIONS
    if kind(one) == "trained" and "re-run" in (one.cell.provenance, other.cell.provenance):
        return EXPLAINED, "one of them is another run of the system"
    return HARD, ""


def _agree_in_nothing(one: Printing, other: Printing) -> bool:
    """Whether two rows share three metrics or more, and agree in none of them."""
    rows = [
        {found.column.metric: found for found in printings(part.record) if found.row is part.row}
        for part in (one, other)
    ]
    shared = rows[0].keys() & rows[1].keys()
    agree = any(
        in_base_units(rows[0][name], ROUNDED).meets(in_base_units(rows[1][name], ROUNDED)) for name in shared
    )
    return not agree and len(shared) >= 3


def _twice(one: Interval, other: Interval) -> bool:
    return (one * 2).meets(other) or (other * 2).meets(one)


def _checks(judged: list[Judged]) -> Iterator[Check]:
    """The right pairs, one by one; all others of a quantity in one finding."""
    wrong = [one for one in judged if one[0] != RIGHT]
    for grade, _, pair in judged:
        if grade == RIGHT:
            text = " and ".join(part.cell.text for part in pair)
            yield Check(grade=RIGHT, places=tuple(part.place for part in pair), arithmetic=text)
    if not wrong:
        return
    worst = max((grade for grade, _, _ in wrong), key=_RANK.get)
    cause = next(cause for grade, cause, _ in wrong if grade == worst)
    odd = {part.place.key: part for _, _, pair in wrong for part in pair}
    everyone = {part.place.key: part for _, _, pair in judged for part in pair}
    groups = _by_value(everyone.values())
    text = "; ".join(f"{parts[0].cell.text} in {_sources(parts)}" for parts in groups)
    disputed = _disputed(list(odd.values()), groups)
    rest = [part for part in odd.values() if part not in disputed]
    yield Check(
        grade=worst,
        places=tuple(part.place for part in (*disputed, *rest)),
        arithmetic=f"{text}: {cause}" if cause else text,
        disputed=tuple(part.place for part in disputed),
    )


def _rows_apart(pairs: Iterable[Pair]) -> Iterator[Check]:
    """One finding for two rows of two papers that differ in everything."""
    rows: dict[tuple, list[Pair]] = {}
    for pair in pairs:
        rows.setdefault(tuple((part.place.printed_in, part.row.number) for part in pair), []).append(pair)
    for found in rows.values():
        names = [part.place.printed_in for part in found[0]]
        shown = ", ".join(f"{one.cell.text} and {other.cell.text}" for one, other in found)
        text = f"{shown} in {names[0]} and {names[1]}: {VERSIONS}"
        places = tuple(part.place for pair in found for part in pair)
        yield Check(grade=SOFT, places=places, arithmetic=text)


def _by_value(parts: Iterable[Printing]) -> list[list[Printing]]:
    groups: dict[Interval, list[Printing]] = {}
    for part in parts:
        groups.setdefault(in_base_units(part, ROUNDED), []).append(part)
    return list(groups.values())


def _sources(parts: list[Printing]) -> str:
    """Where numbers are printed, with each paper's name once: "PFT Table II, Table V; FASeg Table 1"."""
    found: dict[str, list[str]] = {}
    for part in parts:
        paper = paper_name(part.record.paper)
        found.setdefault(paper, []).append(part.place.printed_in.removeprefix(paper).strip())
    return " and ".join(f"{paper} {', '.join(dict.fromkeys(names))}" for paper, names in found.items())


def _disputed(odd: list[Printing], groups: list[list[Printing]]) -> list[Printing]:
    """The numbers that a difference speaks against.

    Not a paper's own where another paper has it otherwise. Else not the value that most papers print, or
    within one paper, most tables: tables of one paper copy from each other, so against another paper they
    count once. All where no value has more on its side than the others.
    """
    own = {part.record.paper for part in odd if part.cell.provenance == "own run"}
    others = [part for part in odd if part.record.paper not in own]
    if len(own) == 1 and others:
        return others
    within = len({part.record.paper for group in groups for part in group}) == 1
    sides = [len({_source(part, within) for part in group}) for group in groups]
    most = [group for group, count in zip(groups, sides, strict=True) if count == max(sides)]
    stands = {part.place.key for part in most[0]} if len(most) == 1 else set()
    return [part for part in odd if part.place.key not in stands]


def _source(part: Printing, within: bool) -> str:
    return part.record.table if within else part.record.paper
