"""Scores over several evaluations: the mean over severities of a corruption, and over all corruptions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from bench.evaluate.corruptions import corruption_means
from bench.evaluate.run import Result
from bench.evaluate.scores import Scores

Run = tuple[str, int]


def by_corruption(results: Mapping[Run | None, Result], asked: str | None) -> dict[str | None, Result]:
    """The results of each corruption, the mean over its severities, and last that of all that was `asked`.

    Without a corruption, under None, the one result.
    """
    if asked is None:
        return {None: results[None]}
    names = dict.fromkeys(name for name, _ in results)
    groups = {name: {run: results[run] for run in results if run[0] == name} for name in names}
    found = {} if ":" in asked else {name: mean_result(group) for name, group in groups.items()}
    found.pop(asked, None)
    return {**found, asked: mean_result(results)}


def mean_result(results: Mapping[Run, Result]) -> Result:
    """One result with the mean scores: over severities, then over corruptions; a class that is nan in one of
    them is nan."""
    first = next(iter(results.values()))
    scores: Scores = {}
    for name, value in first.scores.items():
        if isinstance(value, list):
            scores[name] = [_mean(results, name, place) for place in range(len(value))]
        else:
            scores[name] = _mean(results, name)
    return replace(first, scores=scores, remembered=all(result.remembered for result in results.values()))


def _mean(results: Mapping[Run, Result], name: str, place: int | None = None) -> float:
    values: dict[Run, float] = {}
    for run, result in results.items():
        value = result.scores[name]
        values[run] = value[place] if isinstance(value, Sequence) else value
    return corruption_means(values)["mean"]
