"""AP against AP50, AP75, its sizes and its boundary form."""

from collections.abc import Iterator, Sequence

from bench.audit.finding import HARD, RIGHT, SOFT, Check, Printing, by_metric
from bench.audit.interval import Interval, mean, stands_for
from tables import TableRecord

NAME = "ap"
TITLE = "AP against its parts"
SAYS = (
    "AP is the mean over ten IoU thresholds from 0.50 to 0.95 and does not rise with the threshold: it lies "
    "between (AP50 + 5 AP75) / 10 and (AP50 + AP75) / 2, and AP75 is at most AP50. Boundary IoU is at most "
    "mask IoU (Cheng et al., Boundary IoU), and so are boundary AP, PQ and RQ. Usually AP lies between its "
    "least and its greatest over small, medium and large objects, and large objects are easier than small."
)


def check(records: Sequence[TableRecord]) -> Iterator[Check]:
    """Every bound with both sides printed."""
    for record in records:
        for row in record.rows:
            for found in by_metric(record, row):
                yield from _bounds(found)
                yield from _sizes(found)


def _bounds(found: dict[str, Printing]) -> Iterator[Check]:
    for small, large in (
        ("ap", "ap50"), ("ap75", "ap50"), ("ap_boundary", "ap"),
        ("boundary_pq", "pq"), ("boundary_rq", "rq"),
    ):  # fmt: skip
        if small in found and large in found:
            yield _at_most([found[small]], _of(found[small]), [found[large]], _of(found[large]))
    if {"ap", "ap50", "ap75"} <= found.keys():
        ap, ap50, ap75 = (found[name] for name in ("ap", "ap50", "ap75"))
        yield _at_most([ap], _of(ap), [ap50, ap75], mean([_of(ap50), _of(ap75)]))
        low = _of(ap75) * 5 + _of(ap50)
        yield _at_most([ap50, ap75], Interval(low.low / 10, low.high / 10), [ap], _of(ap))


def _of(printing: Printing) -> Interval:
    return stands_for(printing.cell.printed)


def _at_most(left: list[Printing], low: Interval, right: list[Printing], high: Interval) -> Check:
    names = [" and ".join(f"{part.column.label} {part.cell.text}" for part in side) for side in (left, right)]
    places = tuple(part.place for part in (*left, *right))
    text = f"{names[0]} gives {low}, to be at most {high} from {names[1]}"
    return Check(
        grade=HARD if low.low >= high.high else RIGHT, places=places, arithmetic=text, disputed=places
    )


def _sizes(found: dict[str, Printing]) -> Iterator[Check]:
    names = ("ap", "ap_s", "ap_m", "ap_l")
    if not all(name in found for name in names):
        return
    whole, small, medium, large = (found[name].cell.printed.value for name in names)
    usual = min(small, medium, large) <= whole <= max(small, medium, large) and small <= large
    text = f"AP {whole}, by size {small}, {medium}, {large}"
    places = tuple(found[name].place for name in names)
    yield Check(grade=RIGHT if usual else SOFT, places=places, arithmetic=text)
