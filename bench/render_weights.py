"""Whose weights were evaluated for which cells, under which licence."""

from collections.abc import Iterable, Mapping, Sequence

from bench.cells import CellResult
from bench.markdown import Lines, escape


def weights(results: Sequence[CellResult]) -> Lines:
    """A line for each file of weights, with its kind of evidence and the cells that it fills."""
    found: dict[tuple[str, str], dict[str, dict[str, None]]] = {}
    for result in results:
        if result.weights is not None:
            rows = found.setdefault((result.evidence, result.weights), {})
            rows.setdefault(escape(result.row.label), {})[escape(result.column.label)] = None
    lines = [f"- `{kind}`: {_listed(rows)}: {words}." for (kind, words), rows in found.items()]
    return ["## Whose weights", "", *lines] if lines else []


def mixed(results: Sequence[CellResult]) -> str:
    """Which rows have which kind of evidence, for the columns whose numbers of ours are of several kinds."""
    columns: dict[str, dict[str, list[str]]] = {}
    for result in results:
        if result.measured is not None:
            kinds = columns.setdefault(escape(result.column.label), {})
            kinds.setdefault(result.evidence, []).append(escape(result.row.label))
    told = [
        f"{column} mixes {_listed({f'`{kind}`': rows for kind, rows in kinds.items()})}"
        for column, kinds in columns.items()
        if len(kinds) > 1
    ]
    return f" {'. '.join(told)}." if told else ""


def _listed(groups: Mapping[str, Iterable[str]]) -> str:
    return "; ".join(f"{name} ({', '.join(members)})" for name, members in groups.items())
