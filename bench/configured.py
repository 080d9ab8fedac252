"""Printed settings, such as epochs or a learning rate, beside what our specs and recipes hold."""

from __future__ import annotations

import functools
import tomllib
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from bench.counting import row_spec
from bench.errors import UserError
from tables import Column, Row
from tables.metrics import METRICS

PROTOCOL = "configured/spec-v1"
_TRAIN = "train."
_OR = " or "  # in `setting`: where systems of one column keep it in different places
_IMAGES = Path(__file__).parent / "data" / "train_images.toml"


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What we hold for a printed setting, in the column's unit; without a `value`, `why` says why not."""

    value: Decimal | None = None
    why: str | None = None


@functools.cache
def train_images(dataset: str) -> int:
    """Images in the training split of a data set. Raises UserError for one that is not in the list."""
    with _IMAGES.open("rb") as file:
        known = tomllib.load(file)
    if dataset not in known:
        raise UserError(f"how many training images {dataset} has is not in {_IMAGES.name}")
    return known[dataset]["images"]


def setting(row: Row, column: Column) -> Setting:
    """What the row's model or its training recipe holds where the column's `setting` says.

    The row must have a preset for the column.
    """
    if column.setting is None:
        return Setting(why="no part of the model or its recipe holds this setting")
    preset, spec = row.preset[column.preset_key], row_spec(row, column.preset_key)
    places = column.setting.split(_OR)
    try:
        holder, found = _first(places, preset, spec)
        if found is None:
            return Setting(why=f"{preset} has no {places[0]}")
        return Setting(value=_number(found, holder, column, preset))
    except UserError as error:
        return Setting(why=str(error))


def _first(places: list[str], preset: str, spec: Any) -> tuple[Any, Any]:
    """The first of several places that the model or its recipe has: what holds it, and the value."""
    for place in places:
        holder, path = spec, place
        if place.startswith(_TRAIN):
            holder, path = _recipe(preset, spec), place.removeprefix(_TRAIN)
        found = functools.reduce(lambda part, name: getattr(part, name, None), path.split("."), holder)
        if found is not None:
            return holder, found
    return None, None


def _recipe(preset: str, spec: Any) -> Any:
    """How a preset is trained. Raises UserError where its system has no recipe for the data set."""
    from bench.tasks import split_preset
    from bench.train.recipes import train_recipe

    dataset, task = split_preset(preset)
    return train_recipe(dataset, spec, task)


def _number(found: Any, holder: Any, column: Column, preset: str) -> Decimal:
    """The value as the paper would write it; `holder` is the recipe that epochs are computed from."""
    from bench.tasks import split_preset

    if column.metric == "epochs":
        return Decimal(found * holder.batch) / train_images(split_preset(preset)[0])
    if column.metric == "crop_size":
        return _side(found)
    if isinstance(found, tuple):
        found = len(found)
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise UserError(f"{preset} has {column.setting} = {found!r}, which is no number")
    return Decimal(str(found)) / Decimal(METRICS[column.metric].units[column.unit])


def _side(crop: tuple[int, int]) -> Decimal:
    """The side of a square crop."""
    if crop[0] != crop[1]:
        raise UserError(f"our crop is no square but {crop[0]} x {crop[1]}")
    return Decimal(crop[0])
