"""Times the models of a table in turns: one image at a time, with the post-processing of its task.

So Mask2Former (section 4.1) and Panoptic SegFormer (appendix A.2) measure: batch 1, the mean over the
validation images. Here one image of COCO's most frequent size stands for them, and the median for the mean.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.counting import row_spec
from tables import TableRecord

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from models.inference import Task

IMAGE = (480, 640)
"""Height and width of the file, in pixels; the model gets it at its own test size (800 x 1067 on COCO)."""
ROUNDS = 5

Turns = Callable[[range], Iterable[int]]


@dataclass(frozen=True)
class Timed:
    """The seconds that one image took, in each round, of a cell: `row` counts the record's rows from 1."""

    row: int
    column: str
    seconds: tuple[float, ...]


def time_table(
    record: TableRecord, device: torch.device, rounds: int = ROUNDS, turns: Turns = iter
) -> list[Timed]:
    """Times every cell of metric fps whose row has a model; each round calls every model once.

    Weights are random (seed 0), so no segment passes a score threshold and what is done with segments is not
    in the times. `turns` wraps the rounds (for a bar). Raises SpecError and UserError as presets do.
    """
    import torch

    calls = _calls(record, device)
    times: dict[tuple[int, str], list[float]] = {place: [] for place in calls}
    for call in calls.values():  # what is done once only: allocations, compiled operators
        call()
    for _ in turns(range(rounds)):
        for place, call in calls.items():
            began = time.perf_counter()
            call()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            times[place].append(time.perf_counter() - began)
    return [Timed(row, column, tuple(seconds)) for (row, column), seconds in times.items()]


def _calls(record: TableRecord, device: torch.device) -> dict[tuple[int, str], Callable[[], object]]:
    """What is timed, by row and column; cells of one model share it."""
    from models.spec import to_dict

    made: dict[str, Callable[[], object]] = {}
    found = {}
    for row, column, _ in record.cells:
        if column.metric != "fps" or column.preset_key not in row.preset:
            continue
        spec = row_spec(row, column.preset_key)
        name = repr((row.preset[column.preset_key], to_dict(spec)))
        if name not in made:
            made[name] = _call(row.preset[column.preset_key], spec, device)
        found[row.number, column.id] = made[name]
    return found


def _call(preset: str, spec: Any, device: torch.device) -> Callable[[], object]:
    import torch

    from bench.data.classes import dataset_classes
    from bench.data.synthetic import Embedded
    from bench.tasks import split_preset, task_info, things_first
    from bench.train.recipes import test_recipe

    dataset, task = split_preset(preset)
    torch.manual_seed(0)
    model = spec.build().to(device).eval()
    things = task_info(dataset_classes(dataset), task, things_first(spec)).things
    image = Embedded(split="val", size=IMAGE, length=1)[0].image
    test = test_recipe(dataset, spec, task)
    return lambda: _segment(model, image, task, things, test, device)


def _segment(
    model: nn.Module, image: Tensor, task: Task, things: frozenset[int], test: Any, device: torch.device
) -> object:
    from bench.evaluate import predict_instances, predict_panoptic, predict_semantic

    if task == "semantic":
        return predict_semantic(model, image, test, device)
    predict = predict_panoptic if task == "panoptic" else predict_instances
    return predict(model, image, things, test, device)
