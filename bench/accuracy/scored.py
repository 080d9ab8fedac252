"""What evaluations that were run have come to, for a cell; and keeping what a new one came to."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from bench.accuracy.evidence import OFFICIAL, Evidence, find, put
from bench.accuracy.plan import Plan, plan
from bench.accuracy.released import fetched, in_file, of_row, said_to_be
from bench.counting import cell_spec
from bench.getting.weights import releases
from bench.records import Store
from tables import Cell, Column, Row, TableRecord

if TYPE_CHECKING:
    from bench.evaluate.run import Result
    from bench.evaluate.shard import Evaluation
    from bench.options import Chosen


def score(
    record: TableRecord, row: Row, column: Column, cell: Cell, store: Store
) -> tuple[Decimal, str] | None:
    """What the authors' weights of a row came to for a cell, in percent, and what the weights are.

    None where no such evaluation was kept. A cell of a split whose labels are not public has none.
    """
    asked = plan(column, cell)
    if isinstance(asked, str) or asked.private:
        return None
    entry = of_row(record, row, column.preset_key)
    if entry is None and (row.overrides or releases(row.preset[column.preset_key])):
        return None  # weights of this preset are not those of this row
    wanted = "" if entry is None else entry.name
    for evidence in reversed(find(store, cell_spec(row, column), column.dataset, asked)):
        value = evidence.value(asked.score)
        if value is not None and evidence.release == wanted:
            return value, evidence.weights
    return None


def keep(
    store: Store, chosen: Chosen, asked: Plan, evaluation: Evaluation, result: Result, official: bool
) -> list[str]:
    """Keeps the scores as evidence if they are such; what was done, in lines.

    They are where the whole of an official split, or what the paper took of it, was scored with weights that
    a page of their authors lists, told by their hash or fetched from there, or of which the user says that
    they are `official`.
    """
    from bench.data.registry import registered

    if evaluation.weights is None:
        return []
    dataset = evaluation.dataset.info.name
    release, words = _whose(chosen, evaluation, official)
    if release is None:
        return [f"not kept as evidence: {words}"]
    there, known = len(evaluation.dataset), registered(dataset).counts.get(asked.split)
    needed = known if asked.images is None or known is None else min(asked.images, known)
    if not asked.whole or known is None or there != needed or evaluation.dataset.skipped:
        return [f"not kept as evidence: {there} images, the {asked.split!r} split of {dataset} has {known}"]
    described = result.description
    evidence = Evidence(
        scores=result.storable(), weights=words, release=release, file=described["weights"],
        images=there, checksum=described["data"]["checksum"], code=described["code"],
        first_output=described["first_output"],
    )  # fmt: skip
    put(store, evaluation.model, dataset, asked, evidence)
    return [f"kept as evidence, {OFFICIAL}: {words}"]


def _whose(chosen: Chosen, evaluation: Evaluation, official: bool) -> tuple[str | None, str]:
    """The release that the weights are ("": an unknown one of the authors; None: not theirs), and words."""
    from bench.options import RELEASED
    from bench.weights import is_of_a_run

    path, preset = evaluation.weights, chosen.model.preset
    if is_of_a_run(path):
        return None, f"{path} is of a run"
    entry = in_file(path, releases(preset)) if preset else None
    if entry is None and chosen.weights == Path(RELEASED):
        entry = fetched(chosen.model)  # their page prints no hash; the file came from it
    if entry is not None:
        return entry.name, f"weights: {entry.name} ({entry.page}), licence {entry.licence}"
    if official:
        entry = said_to_be(chosen.model)
        name = "" if entry is None else entry.name
        return name, f"weights: {path.name}, said to be the authors' own; their page tells the licence"
    return None, f"no page of authors that is known here lists {path.name} (--official if it is theirs)"
