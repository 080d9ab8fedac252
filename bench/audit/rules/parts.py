"""PQ, SQ and RQ from things and stuff."""

from collections.abc import Iterator, Sequence

from bench.audit.finding import EXPLAINED, HARD, RIGHT, Check, Printing, by_metric
from bench.audit.interval import ROUNDED, WAYS, mean, short, stands_for, ways_to_meet
from tables import TableRecord

NAME = "parts"
TITLE = "PQ, SQ and RQ from things and stuff"
SAYS = (
    "PQ, SQ and RQ are means over all classes (Kirillov et al., Panoptic Segmentation): those of things and "
    "stuff, weighted by the number of thing and stuff classes of the data set."
)

# Thing and stuff classes of the official panoptic tasks.
CLASSES = {"coco": (80, 53), "ade20k": (100, 50), "cityscapes": (8, 11), "mapillary": (37, 28)}


def check(records: Sequence[TableRecord]) -> Iterator[Check]:
    """Every PQ, SQ and RQ with both of its parts beside it."""
    for record in records:
        for row in record.rows:
            for found in by_metric(record, row):
                for whole in ("pq", "sq", "rq"):
                    names = (whole, f"{whole}_things", f"{whole}_stuff")
                    if all(name in found for name in names) and found[whole].column.dataset in CLASSES:
                        yield _check(*(found[name] for name in names))


def _check(whole: Printing, things: Printing, stuff: Printing) -> Check:
    weights = CLASSES[whole.column.dataset]
    parts = (things.cell.printed, stuff.cell.printed)
    computed = {way: mean([stands_for(part, way) for part in parts], weights) for way in WAYS}
    value = sum(part.value * weight for part, weight in zip(parts, weights, strict=True)) / sum(weights)
    terms = " + ".join(f"{weight} x {part.text}" for weight, part in zip(weights, parts, strict=True))
    text = f"({terms}) / {sum(weights)} = {short(value)}, by the rounding of the parts {computed[ROUNDED]}"
    text += f"; printed {whole.cell.text}"
    ways = ways_to_meet(whole.cell.printed, computed)
    grade = RIGHT if ROUNDED in ways else EXPLAINED if ways else HARD
    if grade == EXPLAINED:
        text += ": possible only if the numbers were cut off, not rounded"
    rest = (things.place, stuff.place)
    return Check(
        grade=grade, places=(whole.place, *rest), arithmetic=text, disputed=(whole.place,), instead=rest
    )
