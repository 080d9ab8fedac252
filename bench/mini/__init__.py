"""Mini evidence: every row of an ablation table trained small, with the same seeds, data and budget.

The scores can be compared with each other only, as differences with their spread over the seeds.
"""

import sys
from collections.abc import Sequence

from tqdm import tqdm

from bench.cells import row_spec
from bench.mini.budgets import BUDGETS, Budget, budget_named
from bench.mini.shrink import shrink
from bench.mini.work import Job, datasets, majority_score, perform
from bench.pool import run_jobs
from bench.records import Store, code_version
from models.spec import to_dict
from tables import TableRecord

__all__ = ["BUDGETS", "PROTOCOL", "Budget", "budget_named", "run", "shrink"]

PROTOCOL = "mini/embedded-v1"
CODE = ("ops", "models", "bench/data", "bench/train", "bench/evaluate", "bench/mini")
"""What a score depends on; a change anywhere in these makes the stored scores stale."""


def run(
    record: TableRecord,
    rows: Sequence[int],
    budget: str | Budget = "small",
    seeds: int | None = None,
    store: Store | None = None,
    progress: bool = True,
    workers: int | None = None,
) -> dict:
    """Trains and evaluates `rows` (numbers, from 1) of a table; reuses what `store` holds.

    `budget` is a name of `BUDGETS`; `seeds` of each row, by default the budget's; `workers` trainings side by
    side, by default one a core, each on one thread (which keeps the numbers the same). A killed run continues
    from its checkpoints in the store's folder.

    Returns a JSON-able dict: "budget", "dataset", "protocol", "device", "operators" (compiled or reference),
    "code" (version of the sources), "wall_seconds" (of all trainings and evaluations added up) and "rows",
    each with "row", "scores", "untrained" (one number a seed) and "majority", in percent mIoU. Raises
    UserError for an unknown budget, KeyError for an unknown row.
    """
    budget = budget_named(budget) if isinstance(budget, str) else budget
    store = store or Store()
    jobs = [_job(record, row, seed, budget, store) for seed in range(seeds or budget.seeds) for row in rows]
    todo = [job for job in jobs if store.get(job.key) is None]
    majority = _majority(budget, store)
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
    return _result(budget, [(job, store.get(job.key)) for job in jobs], rows, majority)


def _job(record: TableRecord, row: int, seed: int, budget: Budget, store: Store) -> Job:
    found = record.row(row)
    training, evaluation = datasets(budget)
    full = row_spec(found, next(iter(found.preset)))
    spec = shrink(full).override({"num_classes": training.info.num_classes})
    train = budget.train_spec(seed)
    key = store.key(
        spec=to_dict(spec),
        protocol=PROTOCOL,
        dataset=f"{training.checksum()}/{evaluation.checksum()}",
        code=code_version(*CODE),
        train=to_dict(train),
    )
    return Job(
        key=key, row=row, model=spec, train=train, budget=budget, folder=store.file.parent / "mini" / key
    )


def _majority(budget: Budget, store: Store) -> float:
    data = "/".join(dataset.checksum() for dataset in datasets(budget))
    key = store.key(spec={}, protocol="mini/majority-v1", dataset=data, code=code_version("bench/data"))
    found = store.get(key)
    if found is None:
        found = {"score": majority_score(budget)}
        store.put(key, found)
    return found["score"]


def _distinct(results: list[tuple[Job, dict]], name: str) -> str:
    """What the records say under `name`; several words where a resumed run moved between machines."""
    return " / ".join(sorted({record[name] for _, record in results}))


def _result(budget: Budget, results: list[tuple[Job, dict]], rows: Sequence[int], majority: float) -> dict:
    def of(row: int, name: str) -> list[float]:
        return [round(record[name], 4) for job, record in results if job.row == row]

    return {
        "budget": budget.summary(),
        "dataset": "embedded",
        "protocol": PROTOCOL,
        "device": _distinct(results, "device"),
        "operators": _distinct(results, "operators"),
        "code": code_version(*CODE),
        "wall_seconds": round(sum(record["seconds"] for _, record in results), 1),
        "rows": [
            {
                "row": row,
                "scores": of(row, "score"),
                "untrained": of(row, "untrained"),
                "majority": round(majority, 4),
            }
            for row in rows
        ],
    }
