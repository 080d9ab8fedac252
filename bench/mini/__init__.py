"""Mini evidence: every row of an ablation table trained small, with the same seeds, data and budget.

The scores can be compared with each other only, as differences with their spread over the seeds.
"""

import sys
from collections.abc import Sequence

from tqdm import tqdm

from bench.cells import row_spec
from bench.errors import UserError
from bench.mini.arenas import ARENAS, Setting
from bench.mini.budgets import Budget, budget_named
from bench.mini.shrink import shrink
from bench.mini.work import Job, majority_score, perform
from bench.pool import run_jobs
from bench.records import Store, code_version
from bench.tasks import fit_classes, split_preset
from models.spec import Spec, to_dict
from tables import Row, TableRecord

__all__ = ["ARENAS", "Budget", "Setting", "budget_named", "run", "shrink", "small_spec"]

CODE = ("ops", "models", "bench/data", "bench/train", "bench/evaluate", "bench/mini")
"""What a score depends on; a change anywhere in these makes the stored scores stale."""

EMBEDDED = Setting()


def run(
    record: TableRecord,
    rows: Sequence[int],
    budget: str | Budget = "small",
    seeds: int | None = None,
    store: Store | None = None,
    progress: bool = True,
    workers: int | None = None,
    setting: Setting = EMBEDDED,
) -> dict:
    """Trains and evaluates `rows` (numbers, from 1) of a table; reuses what `store` holds.

    `budget` is one of the setting's, or its name; `seeds` of each row, by default the budget's; `workers`
    trainings side by side, by default one a core, each on one thread (which keeps the numbers the same). A
    killed run continues from its checkpoints in the store's folder. Rows that are the same model when they
    are small are trained once.

    Returns a JSON-able dict: "budget", "dataset", "data_checksum" (training/evaluation), "protocol",
    "backbone" (text, weights' file name and SHA-256), "seeds", "device", "operators" (compiled or reference),
    "code" (version of the sources), "wall_seconds" and "cpu_seconds" (of all trainings and evaluations
    added up; the latter without what a killed run had spent) and "rows", each with "row", "scores" and
    "untrained" (one number a seed) and "majority", in percent mIoU, and "same_as" for the earlier row that is
    the same model.
    Raises UserError for an unknown budget, data that is not there and a row that gives no semantic results,
    KeyError for an unknown row.
    """
    budget = setting.budget(budget) if isinstance(budget, str) else budget
    store = store or Store()
    numbers = range(seeds or budget.seeds)
    jobs = [_job(record, row, seed, setting, budget, store) for seed in numbers for row in rows]
    distinct = {job.key: job for job in reversed(jobs)}  # the earliest row of those that are the same
    todo = [job for job in reversed(distinct.values()) if store.get(job.key) is None]
    majority = _majority(setting, budget, store)
    with tqdm(
        total=sum(job.train.steps for job in todo), unit="step", desc="mini", file=sys.stderr,
        disable=not progress or not todo,
    ) as bar:  # fmt: skip
        done: dict[str, int] = {}

        def report(job: Job, steps: int) -> None:
            bar.update(steps - done.get(job.key, 0))
            done[job.key] = steps

        for job, result in run_jobs(todo, perform, report, workers):
            store.put(job.key, result)
    return {
        **_about(setting, budget, list(numbers)),
        **_spent([store.get(key) for key in distinct]),
        "rows": _rows([(job, store.get(job.key)) for job in jobs], rows, majority),
    }


def small_spec(row: Row, setting: Setting = EMBEDDED) -> Spec:
    """A row as it is trained small, for as many classes as its full model: its first semantic preset.

    Raises UserError where it has none.
    """
    keys = [key for key, name in row.preset.items() if split_preset(name)[1] == "semantic"]
    if not keys:
        tasks = " and ".join(dict.fromkeys(split_preset(name)[1] for name in row.preset.values()))
        why = f"its presets are {tasks} ones" if tasks else "it has no preset"
        raise UserError(f"row {row.number} ({row.label}) gives no semantic results: {why}")
    return shrink(row_spec(row, keys[0]), "semantic", setting.learner.spec)


def _job(record: TableRecord, row: int, seed: int, setting: Setting, budget: Budget, store: Store) -> Job:
    training, evaluation = setting.datasets(budget)
    spec = fit_classes(small_spec(record.row(row), setting), training.info)
    train = setting.train_spec(budget, seed)
    hashed = (
        spec if setting.weights is None else spec.override({"backbone.weights": setting.weights_digest()})
    )
    key = store.key(
        spec=to_dict(hashed),
        protocol=setting.arena.protocol,
        dataset=f"{training.checksum()}/{evaluation.checksum()}",
        code=code_version(*CODE),
        train=to_dict(train),
    )
    folder = store.file.parent / "mini" / key
    return Job(key=key, row=row, model=spec, train=train, setting=setting, budget=budget, folder=folder)


def _majority(setting: Setting, budget: Budget, store: Store) -> float:
    data = "/".join(dataset.checksum() for dataset in setting.datasets(budget))
    key = store.key(spec={}, protocol="mini/majority-v1", dataset=data, code=code_version("bench/data"))
    found = store.get(key)
    if found is None:
        found = {"score": majority_score(setting, budget)}
        store.put(key, found)
    return found["score"]


def _about(setting: Setting, budget: Budget, seeds: list[int]) -> dict:
    return {
        "budget": {
            **budget.summary(),
            "image_size": list(setting.arena.size),
            "learning_rate": setting.train_spec(budget, 0).lr,
        },
        "dataset": setting.data,
        "data_checksum": "/".join(dataset.checksum() for dataset in setting.datasets(budget)),
        "protocol": setting.arena.protocol,
        "backbone": setting.backbone(),
        "seeds": seeds,
        "code": code_version(*CODE),
    }


def _spent(records: list[dict]) -> dict:
    """Device, operators and time; several words where a resumed run moved between machines."""
    return {
        **{
            name: " / ".join(sorted({record[name] for record in records})) for name in ("device", "operators")
        },
        **{
            name: round(sum(record[name] for record in records), 1)
            for name in ("wall_seconds", "cpu_seconds")
        },
    }


def _rows(results: list[tuple[Job, dict]], rows: Sequence[int], majority: float) -> list[dict]:
    found: list[dict] = []
    first: dict[str, int] = {}  # the row that a training of the first seed was done for
    for row in rows:
        mine = [(job, record) for job, record in results if job.row == row]
        earlier = first.setdefault(mine[0][0].key, row)
        entry = {
            "row": row,
            "scores": [round(record["score"], 4) for _, record in mine],
            "untrained": [round(record["untrained"], 4) for _, record in mine],
            "majority": round(majority, 4),
        }
        found.append(entry if earlier == row else {**entry, "same_as": earlier})
    return found
