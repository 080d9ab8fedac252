"""The length of a training that a table prints for a row, where it is not that of its model's recipe."""

from __future__ import annotations

from dataclasses import replace

from bench.data.registry import registered
from bench.train.schedule import StepSchedule
from bench.train.spec import TrainSpec
from tables import load

_ONE_DROP = {("panoptic_segformer_r50_coco", 12): StepSchedule(milestones=(8 / 12,))}
"""Schedules that are known (released configurations) and are not the recipe's in other steps."""


def as_printed(recipe: TrainSpec, place: tuple[str, str, int, str], dataset: str) -> TrainSpec:
    """`recipe` for the epochs that are printed of a row, if those are the paper's own and not the recipe's.

    The steps change in proportion, and with them those after which the rate falls. Two phases ("500+25") and
    numbers with a star, which the notes explain, are left to the recipe.

    Args:
        place: paper, table, row and the key of its preset.
        dataset: the one that is trained on.
    """
    paper, table, number, key = place
    record = load(paper, table)
    row = record.row(number)
    for column in record.columns:
        cell = row.cells.get(column.id)
        if (column.metric, column.preset_key, column.dataset) != ("epochs", key, dataset):
            continue
        if cell is None or cell.printed is None or cell.provenance == "quoted":
            continue
        if cell.printed.mark or not cell.printed.text.strip().isdecimal():
            continue
        return _lasting(recipe, int(cell.printed.value), row.preset[key], dataset)
    return recipe


def _lasting(recipe: TrainSpec, epochs: int, preset: str, dataset: str) -> TrainSpec:
    ours = round(recipe.steps * recipe.batch / registered(dataset).counts["train"])
    if epochs == ours:
        return recipe
    schedule = _ONE_DROP.get((preset, epochs), recipe.schedule)
    return replace(recipe, steps=round(recipe.steps * epochs / ours), schedule=schedule)
