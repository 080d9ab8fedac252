"""An evaluation at scale: divided among processes, continued after a kill, remembered."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from bench.errors import UserError
from bench.evaluate.predict import output_hash
from bench.evaluate.scores import Scores, scorer
from bench.evaluate.shard import Evaluation, Shard, World, perform, shards, tally, world
from bench.evaluate.tallies import TallyFolder
from bench.files import atomic_write
from bench.pool import run_jobs
from bench.records import Store

_PROTOCOL = "accuracy/evaluation-v1"

Say = Callable[[str], None]
Advance = Callable[[int], None]


@dataclass(frozen=True, kw_only=True)
class Result:
    """The scores, how they came about (`Evaluation.describe`, with "first_output"), whether they are an
    earlier evaluation's, and what the weights are, in words."""

    scores: Scores
    description: dict[str, Any]
    remembered: bool
    weights: str

    def storable(self) -> dict[str, Any]:
        """The scores as JSON keeps them."""
        return storable(self.scores)


def run(
    evaluation: Evaluation,
    store: Store,
    *,
    folder: Path | None = None,
    device: str = "cpu",
    processes: int = 1,
    say: Say = lambda text: None,
    advance: Advance = lambda images: None,
) -> Result | None:
    """Evaluates, or finds in the store what an earlier evaluation of the same gave.

    The same: model, weights (their hash), data (checksum and split), test, code, and the hash of the model's
    output for the first image, which differs where another machine or library computes otherwise.

    Args:
        folder: of the tallies, from which a killed evaluation continues; by default one in the store.
        processes: on this machine; under `torchrun` of each rank. All ranks share `folder`.
        say: is told what a user should know.
        advance: is called with numbers of images done; those of an earlier start first.

    Returns None on all ranks but the first. Raises UserError: no images; a folder of another evaluation;
    images whose tallies are missing, where the ranks do not share the folder; tallies that somebody changed;
    what the evaluation itself raises.
    """
    if not len(evaluation.dataset):
        raise UserError(f"{evaluation.dataset.info.name}: no images to score")
    description = evaluation.describe()
    key = Store.key(spec=description, protocol=_PROTOCOL, code=description["code"])
    tallies = TallyFolder(folder or store.file.parent / "evaluations" / key)
    with world() as ranks:
        model, words = evaluation.network(device)
        known = None
        if ranks.rank == 0:
            first = evaluation.dataset[0].image
            description["first_output"] = output_hash(model, first, evaluation.test, device)
            known = _known(store, key, description["first_output"], say)
            if known is None and (reason := tallies.prepare(description)):
                say(f"what was evaluated before is not used: {reason}")
        if ranks.agree(known is None):
            _divide(evaluation, model, ranks, tallies, device, processes, advance)
            ranks.wait()
    if ranks.rank:
        return None
    scores = _total(evaluation, tallies) if known is None else known
    if known is None:
        kept = list(storable(scores).items())  # their order too
        store.put(key, {"scores": kept, "first_output": description["first_output"]})
    return Result(scores=scores, description=description, remembered=known is not None, weights=words)


def storable(scores: Scores) -> dict[str, Any]:
    """Scores as JSON keeps them: it has no NaN."""

    def plain(value: float) -> float | None:
        return None if math.isnan(value) else value

    return {
        name: [plain(v) for v in value] if isinstance(value, list) else plain(value)
        for name, value in scores.items()
    }


def _from_store(scores: dict[str, Any]) -> Scores:
    """The inverse of `storable`."""

    def number(value: float | None) -> float:
        return math.nan if value is None else value

    return {
        name: [number(v) for v in value] if isinstance(value, list) else number(value)
        for name, value in scores.items()
    }


def _known(store: Store, key: str, first_output: str, say: Say) -> Scores | None:
    found = store.get(key)
    if found is None:
        return None
    if found["first_output"] != first_output:
        say(
            "the scores in the store are not used: the output for the first image has the hash "
            f"{first_output} here, {found['first_output']} there (another machine, library or number "
            "of threads)"
        )
        return None
    return _from_store(dict(found["scores"]))


def _divide(
    evaluation: Evaluation,
    model: nn.Module,
    ranks: World,
    tallies: TallyFolder,
    device: str,
    processes: int,
    advance: Advance,
) -> None:
    """Does this rank's share of what is not done yet."""
    images = len(evaluation.dataset)
    mine = ranks.share(images, tallies.done())
    advance(len(range(ranks.rank, images, ranks.size)) - len(mine))
    if mine:
        _work(shards(evaluation, tallies.path, mine, device, processes, ranks.rank), model, advance)


def _work(parts: list[Shard], model: nn.Module, advance: Advance) -> None:
    """One part is done here, several in processes of their own."""
    if len(parts) == 1:
        tally(parts[0], model, lambda count: advance(1))
        return
    for _ in run_jobs(parts, perform, lambda part, count: advance(1), len(parts)):
        pass


def _total(evaluation: Evaluation, tallies: TallyFolder) -> Scores:
    done, images = tallies.done(), len(evaluation.dataset)
    missing = [image for image in range(images) if image not in done]
    if missing:
        raise UserError(
            f"{tallies.path} lacks {len(missing)} of {images} images, such as number {missing[0]}: "
            "is it a folder that all ranks share?"
        )
    scores = scorer(evaluation.task, evaluation.dataset.info, boundary=evaluation.boundary)
    try:
        found = scores.total(done[image] for image in range(images))
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise UserError(f"{tallies.path} holds tallies that are not of this evaluation: {error!r}") from error
    atomic_write(tallies.scores, json.dumps(storable(found), indent=1) + "\n")
    return found
