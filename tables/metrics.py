"""What a column can measure: for every metric its units and the range a published figure can lie in.

The ranges are wide; they catch a wrong unit, such as 44 K parameters or a FLOP count of 73,000 G.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """`units` maps a unit to its size in base units; `low` and `high` bound plausible values in base units.

    `evidence` is the kind of evidence the published number is compared with.
    """

    name: str
    units: dict[str, float]
    low: float
    high: float
    evidence: str


_PERCENT = {"%": 1.0}
_COUNT = {"K": 1e3, "M": 1e6, "G": 1e9}

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("params", _COUNT, 1e6, 5e9, "counted"),
        Metric("flops", {"M": 1e6, "G": 1e9, "T": 1e12}, 1e8, 2e13, "counted"),
        Metric(
            "memory",
            {"M": 2.0**20, "MB": 2.0**20, "G": 2.0**30, "GB": 2.0**30},
            2.0**27,
            2.0**40,
            "predicted",
        ),
        Metric("fps", {"fps": 1.0}, 0.1, 2000.0, "measured"),
        Metric("miou", _PERCENT, 1.0, 100.0, "trained"),
        Metric("miou_ms", _PERCENT, 1.0, 100.0, "trained"),
        Metric("pq", _PERCENT, 1.0, 100.0, "trained"),
        Metric("ap", _PERCENT, 1.0, 100.0, "trained"),
    )
}

# Accuracy metrics: what a trained model scores, and which of them the mini replication speaks about.
ACCURACY = frozenset(name for name, metric in METRICS.items() if metric.evidence == "trained")
