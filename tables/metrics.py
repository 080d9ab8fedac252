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
_PLAIN = {"": 1.0}
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
        Metric("ap_s", _PERCENT, 1.0, 100.0, "trained"),
        Metric("ap_m", _PERCENT, 1.0, 100.0, "trained"),
        Metric("ap_l", _PERCENT, 1.0, 100.0, "trained"),
        Metric("ap50", _PERCENT, 1.0, 100.0, "trained"),
        Metric("ap75", _PERCENT, 1.0, 100.0, "trained"),
        Metric("ap_box", _PERCENT, 1.0, 100.0, "trained"),
        Metric("ap_boundary", _PERCENT, 1.0, 100.0, "trained"),
        Metric("ap_pan", _PERCENT, 1.0, 100.0, "trained"),
        Metric("miou_pan", _PERCENT, 1.0, 100.0, "trained"),
        Metric("pq_ms", _PERCENT, 1.0, 100.0, "trained"),
        Metric("sq", _PERCENT, 1.0, 100.0, "trained"),
        Metric("rq", _PERCENT, 1.0, 100.0, "trained"),
        Metric("pq_things", _PERCENT, 1.0, 100.0, "trained"),
        Metric("sq_things", _PERCENT, 1.0, 100.0, "trained"),
        Metric("rq_things", _PERCENT, 1.0, 100.0, "trained"),
        Metric("pq_stuff", _PERCENT, 1.0, 100.0, "trained"),
        Metric("sq_stuff", _PERCENT, 1.0, 100.0, "trained"),
        Metric("rq_stuff", _PERCENT, 1.0, 100.0, "trained"),
        Metric("boundary_pq", _PERCENT, 1.0, 100.0, "trained"),
        Metric("boundary_sq", _PERCENT, 1.0, 100.0, "trained"),
        Metric("boundary_rq", _PERCENT, 1.0, 100.0, "trained"),
        Metric("pixel_accuracy", _PERCENT, 1.0, 100.0, "trained"),
        Metric("score", _PERCENT, 1.0, 100.0, "trained"),
        Metric("epochs", {"epochs": 1.0}, 1.0, 1000.0, "configured"),
        Metric("iterations", {"": 1.0, "k": 1e3}, 0.0, 1e6, "configured"),
        Metric("crop_size", {"²": 1.0}, 32.0, 4096.0, "configured"),
        Metric("layers", _PLAIN, 0.0, 100.0, "configured"),
        Metric("heads", _PLAIN, 1.0, 100.0, "configured"),
        Metric("queries", {"queries": 1.0}, 1.0, 10_000.0, "configured"),
        Metric("batch_size", _PLAIN, 1.0, 10_000.0, "configured"),
        Metric("dropout", _PLAIN, 0.0, 1.0, "configured"),
        Metric("loss_points", {"": 1.0, "sampled points": 1.0}, 1.0, 1e6, "configured"),
        Metric("score_exponent", _PLAIN, 0.0, 10.0, "configured"),
        Metric("threshold", _PLAIN, 0.0, 1.0, "configured"),
        Metric("learning_rate", _PLAIN, 1e-7, 1.0, "configured"),
        Metric("lr_multiplier", _PLAIN, 1e-3, 1.0, "configured"),
        Metric("weight_decay", _PLAIN, 0.0, 1.0, "configured"),
        Metric("loss_weight", _PLAIN, 0.0, 100.0, "configured"),
        Metric("focal_alpha", _PLAIN, 0.0, 1.0, "configured"),
        Metric("focal_gamma", _PLAIN, 0.0, 10.0, "configured"),
        Metric("attention_fraction", _PLAIN, 0.0, 1.0, "measured"),
        Metric("query_count", _PLAIN, 0.0, 10_000.0, "measured"),
        Metric("true_positives", _PLAIN, 0.0, 1e6, "measured"),
        Metric("predictions", _PLAIN, 0.0, 1e6, "measured"),
        Metric("precision", _PLAIN, 0.0, 1.0, "measured"),
    )
}

# Accuracy metrics: what a trained model scores, and which of them the mini replication speaks about.
ACCURACY = frozenset(name for name, metric in METRICS.items() if metric.evidence == "trained")
