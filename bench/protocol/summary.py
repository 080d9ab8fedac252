"""From entries of a tape to the numbers of a report."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.protocol.rules import Protocol
from bench.protocol.tape import Entry


@dataclass(frozen=True)
class FlopCount:
    """Multiply-adds of one forward with batch 1, or their mean over images, rounded.

    Attributes:
        size: of the image; None for a mean over images of several sizes.
        images: how many the mean is of.
        deviation: standard deviation of the total over them (that of the images themselves, not of a sample).
        by_operator: per family of operators, largest first; 0 for one that the protocol does not see.
        by_part: per top-level child of the model in the order they run, then the post-processing.
        uncounted: operators without a formula -> calls. Empty when the count is complete.
    """

    protocol: str
    size: tuple[int, int] | None
    total: int
    by_operator: dict[str, int]
    by_part: dict[str, int]
    uncounted: dict[str, int]
    images: int = 1
    deviation: float = 0.0


def mean(counts: Sequence[FlopCount]) -> FlopCount:
    """The mean of counts under one protocol; calls without a formula are added up."""
    first = counts[0]
    if len(counts) == 1:
        return first
    return FlopCount(
        protocol=first.protocol,
        size=first.size if len({count.size for count in counts}) == 1 else None,
        total=round(statistics.fmean(count.total for count in counts)),
        by_operator=_means([count.by_operator for count in counts]),
        by_part=_means([count.by_part for count in counts]),
        uncounted=dict(sum((Counter(count.uncounted) for count in counts), Counter())),
        images=len(counts),
        deviation=statistics.pstdev(count.total for count in counts),
    )


def _means(counts: Sequence[dict[str, int]]) -> dict[str, int]:
    names = dict.fromkeys(name for count in counts for name in count)
    return {name: round(statistics.fmean(count.get(name, 0) for count in counts)) for name in names}


def summarise(entries: Iterable[Entry], protocol: Protocol, size: tuple[int, int]) -> FlopCount:
    """Adds up the entries under `protocol`."""
    by_operator: Counter[str] = Counter()
    by_part: Counter[str] = Counter()
    uncounted: Counter[str] = Counter()
    for entry in entries:
        if entry.cost is None:
            uncounted[entry.op] += 1
            continue
        macs = protocol.count(entry)
        if macs or entry.cost.macs:
            by_part[entry.part] += macs
            by_operator[entry.cost.family] += macs
    return FlopCount(
        protocol=protocol.name,
        size=size,
        total=sum(by_part.values()),
        by_operator=dict(sorted(by_operator.items(), key=lambda item: (-item[1], item[0]))),
        by_part=dict(by_part),
        uncounted=dict(sorted(uncounted.items())),
    )
