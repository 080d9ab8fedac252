"""Single-scale against multi-scale inference."""

from collections.abc import Iterator, Sequence

from bench.audit.finding import RIGHT, SOFT, Check, by_metric
from bench.audit.interval import stands_for
from tables import TableRecord

NAME = "scales"
TITLE = "Single scale against multi-scale"
SAYS = "Inference at several scales is usually at least as good as at one."

PAIRS = (("miou", "miou_ms"), ("pq", "pq_ms"))


def check(records: Sequence[TableRecord]) -> Iterator[Check]:
    """Every row with both."""
    for record in records:
        for row in record.rows:
            for found in by_metric(record, row):
                for one, several in PAIRS:
                    if one in found and several in found:
                        single, multi = found[one], found[several]
                        usual = stands_for(single.cell.printed).low <= stands_for(multi.cell.printed).high
                        yield Check(
                            grade=RIGHT if usual else SOFT,
                            places=(single.place, multi.place),
                            arithmetic=f"{single.cell.text} at one scale, {multi.cell.text} at several",
                        )
