"""From entries of a tape to the numbers of a report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from bench.protocol.rules import Protocol
from bench.protocol.tape import Entry


@dataclass(frozen=True)
class FlopCount:
    """Multiply-adds of one forward with batch 1.

    Attributes:
        by_operator: per family of operators, largest first; 0 for one that the protocol does not see.
        by_part: per top-level child of the model in the order they run, then the post-processing.
        uncounted: operators without a formula -> calls. Empty when the count is complete.
    """

    protocol: str
    size: tuple[int, int]
    total: int
    by_operator: dict[str, int]
    by_part: dict[str, int]
    uncounted: dict[str, int]


def summarise(entries: Iterable[Entry], protocol: Protocol, size: tuple[int, int]) -> FlopCount:
    """Adds up the entries under `protocol`."""
    by_operator: Counter[str] = Counter()
    by_part: Counter[str] = Counter()
    uncounted: Counter[str] = Counter()
    for entry in entries:
        if entry.cost is None:
            uncounted[entry.op] += 1
            continue
        if entry.cost.macs:
            macs = protocol.count(entry)
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
