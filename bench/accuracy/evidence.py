"""Scores of the authors' own weights as evidence for printed cells.

A record is kept for the whole of an official split only, under the model, the data and the way it was scored,
so that every table with that model finds it. Which code made it stands in the record.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from bench.records import Store

if TYPE_CHECKING:
    from bench.accuracy.plan import Plan
    from models.spec import Spec

OFFICIAL = "official-weights"
_PROTOCOL = "accuracy/evidence-v1"


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The scores of one model with one file of weights.

    Attributes:
        scores: as `bench.evaluate.evaluate` gives them, None for nan.
        weights: what they are, with their licence, in words.
        release: the authors' name of them; "" where no page lists them.
        file: the SHA-256 of the file.
        images, checksum: of the data.
        code: the version that evaluated.
        first_output: the hash of the model's output for the first image.
    """

    scores: dict[str, Any]
    weights: str
    release: str
    file: str
    images: int
    checksum: str
    code: str
    first_output: str

    def value(self, score: str) -> Decimal | None:
        """A score in percent; None where it has none."""
        found = self.scores.get(score)
        return None if found is None else Decimal(repr(found))


def put(store: Store, spec: Spec, dataset: str, plan: Plan, evidence: Evidence) -> None:
    """Keeps what a model scored on a data set, beside what it scored with other weights."""
    key = _key(spec, dataset, plan)
    kept = {**(store.get(key) or {}), evidence.file: vars(evidence)}
    store.put(key, kept)


def find(store: Store, spec: Spec, dataset: str, plan: Plan) -> list[Evidence]:
    """What a model scored, once for each file of weights that was evaluated, the latest last."""
    found = store.get(_key(spec, dataset, plan)) or {}
    return [Evidence(**record) for record in found.values()]


def _key(spec: Spec, dataset: str, plan: Plan) -> str:
    """Of a model wherever its backbone's weights came from."""
    from models.spec import paths, to_dict

    if "backbone.weights" in paths(spec):
        spec = spec.override({"backbone.weights": None})
    how = {
        "task": plan.task, "split": plan.split, "images": plan.images, "scales": plan.multi_scale,
        "boundary": plan.boundary, "corruption": plan.corruption, "kind": OFFICIAL,
    }  # fmt: skip
    return Store.key(spec=to_dict(spec), protocol=_PROTOCOL, code="", dataset=dataset, **how)
