"""Which system a printed number is of, and under which conditions."""

import json
import re

from bench.audit.finding import Printing
from bench.audit.interval import Interval, stands_for
from tables.metrics import METRICS

# Printed settings that a trained model depends on, and those that parameters and FLOPs depend on, too.
TRAINING = ("epochs", "iterations", "batch_size", "learning_rate")
BUILDING = ("crop_size", "queries", "layers")

_MARKS = re.compile(r"\((?:ours|p|m|p\*)\)|[†‡*]", re.IGNORECASE)
_BRACKETS = re.compile(r"\([^)]*\)")
_WORDS = re.compile(r"[a-z0-9+/]+")


def preset_of(one: Printing) -> tuple | None:
    """Preset, overrides and variant of a number, or None where its row has no preset for it."""
    name = one.row.preset.get(one.column.preset_key)
    if name is None:
        return None
    return name, json.dumps(one.row.overrides, sort_keys=True), one.row.variant


def words_of(one: Printing, brackets: bool = True) -> frozenset[str]:
    """The words of a row's label, without marks: "Max-DeepLab, Max-S†" and "Max-Deeplab-S" are the same.

    Without `brackets`, what stands in brackets is left out, too.
    """
    label = _MARKS.sub(" ", one.row.label)
    return frozenset(_WORDS.findall((label if brackets else _BRACKETS.sub(" ", label)).lower()))


def kind(one: Printing) -> str:
    """The kind of evidence the number is compared with: `counted`, `trained`, `configured`, ..."""
    return METRICS[one.column.metric].evidence


def conditions(one: Printing) -> dict[str, str]:
    """The printed settings of a number's row, by metric; those for its preset where columns have several."""
    found = {}
    for column in one.record.columns:
        cell = one.row.cells[column.id]
        if column.metric in TRAINING + BUILDING and column.preset_key == one.column.preset_key:
            if cell.printed is not None:
                found[column.metric] = str(cell.printed.value.normalize())
    return found


def differing(one: Printing, other: Printing) -> set[str]:
    """The conditions that both rows print, and print differently."""
    left, right = conditions(one), conditions(other)
    return {name for name in left.keys() & right.keys() if left[name] != right[name]}


def in_base_units(one: Printing, way: str) -> Interval:
    """What the number stands for, in base units; a printed setting stands for itself."""
    metric = METRICS[one.column.metric]
    units = {name.lower(): size for name, size in metric.units.items()}
    printed = one.cell.printed
    scale = units.get(printed.suffix.lower()) or metric.units[one.column.unit]
    found = stands_for(printed, way)
    if kind(one) == "configured":
        found = Interval(printed.value, printed.value)
    exact = type(printed.value)(str(scale))
    return Interval(found.low * exact, found.high * exact)
