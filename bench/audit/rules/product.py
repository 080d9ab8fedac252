"""PQ against SQ and RQ."""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from statistics import median

from bench.audit.finding import HARD, RIGHT, SOFT, Check, Printing, by_metric
from bench.audit.interval import short, stands_for
from tables import TableRecord

NAME = "product"
TITLE = "PQ against SQ and RQ"
SAYS = (
    "PQ is SQ x RQ class by class, so of the printed means only bounds follow: PQ is at most SQ and at most "
    "RQ, at least RQ / 2 (a match has an IoU above 0.5) and at least SQ + RQ - 100. Unusual is a PQ whose "
    "distance to SQ x RQ is far from that of the other rows of its data set."
)

FAMILIES = ("", "_things", "_stuff")
FEWEST = 6  # rows, below which nothing is usual
FAR = 5  # times the median distance from the median


def check(records: Sequence[TableRecord]) -> Iterator[Check]:
    """Every PQ with SQ and RQ beside it."""
    groups: dict[tuple, list[tuple[Printing, Printing, Printing]]] = {}
    for record in records:
        for row in record.rows:
            for found in by_metric(record, row):
                for names in _triples():
                    if all(name in found for name in names):
                        three = tuple(found[name] for name in names)
                        groups.setdefault((three[0].column.dataset, names[0]), []).append(three)
    for triples in groups.values():
        usual = _usual([_excess(three) for three in triples])
        for three in triples:
            yield _check(three, usual)


def _triples() -> list[tuple[str, str, str]]:
    whole = [tuple(f"{letter}q{family}" for letter in "psr") for family in FAMILIES]
    return [*whole, ("boundary_pq", "boundary_sq", "boundary_rq")]


def _excess(three: tuple[Printing, Printing, Printing]) -> Decimal:
    pq, sq, rq = (part.cell.printed.value for part in three)
    return pq - sq * rq / 100


def _usual(excesses: list[Decimal]) -> tuple[Decimal, Decimal] | None:
    """Median and the distance from it that is still usual; None where there are too few to say."""
    if len(excesses) < FEWEST:
        return None
    middle = median(excesses)
    return middle, FAR * median(abs(value - middle) for value in excesses)


def _check(three: tuple[Printing, Printing, Printing], usual: tuple[Decimal, Decimal] | None) -> Check:
    pq, sq, rq = (stands_for(part.cell.printed) for part in three)
    bounds = {"SQ": sq.high, "RQ": rq.high}
    floors = {"RQ / 2": rq.low / 2, "SQ + RQ - 100": sq.low + rq.low - 100}
    broken = [f"above {name} ({short(bound)})" for name, bound in bounds.items() if pq.low >= bound]
    broken += [f"below {name} ({short(floor)})" for name, floor in floors.items() if pq.high <= floor]
    texts = [part.cell.text for part in three]
    excess = _excess(three)
    text = f"SQ x RQ = {texts[1]} % x {texts[2]} = {short(excess * -1 + three[0].cell.printed.value)}"
    text += f", printed PQ {texts[0]}: {short(excess)} more"
    places = tuple(part.place for part in three)
    if broken:
        return Check(grade=HARD, places=places, arithmetic=f"{text}; {', '.join(broken)}", disputed=places)
    slack = sum(interval.high - interval.low for interval in (pq, sq, rq)) / 2
    if usual and abs(excess - usual[0]) > usual[1] + slack:
        text += f", where {short(usual[0])} is usual and {short(usual[1])} from it the most"
        return Check(grade=SOFT, places=places, arithmetic=text)
    return Check(grade=RIGHT, places=places, arithmetic=text)
