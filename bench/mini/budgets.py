"""How much a mini replication spends: named sizes of the same experiment."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from bench.errors import UserError, nearest


@dataclass(frozen=True, kw_only=True)
class Budget:
    """One size of the experiment.

    Attributes:
        steps, batch: of each training.
        train_images, eval_images: the first samples of the data set's "train" and "val" splits.
        seeds: trainings of each row, seeded 0, 1, ...
    """

    name: str
    steps: int
    batch: int
    train_images: int
    eval_images: int
    seeds: int

    def summary(self) -> dict[str, object]:
        """What a report says about it, JSON-able; how many seeds there really were is told by the scores."""
        return {name: value for name, value in asdict(self).items() if name != "seeds"}


EMBEDDED = {
    budget.name: budget
    for budget in (
        Budget(name="small", steps=150, batch=1, train_images=400, eval_images=50, seeds=3),
        Budget(name="medium", steps=1000, batch=2, train_images=1000, eval_images=200, seeds=3),
        Budget(name="large", steps=6000, batch=4, train_images=2000, eval_images=200, seeds=5),
    )
}
CAMVID = {
    budget.name: budget
    for budget in (
        Budget(name="small", steps=250, batch=2, train_images=367, eval_images=101, seeds=3),
        Budget(name="medium", steps=1500, batch=4, train_images=367, eval_images=101, seeds=3),
        Budget(name="large", steps=8000, batch=8, train_images=367, eval_images=101, seeds=5),
    )
}


def budget_named(name: str, budgets: Mapping[str, Budget] = EMBEDDED) -> Budget:
    """The budget of this name. Raises UserError naming the nearest."""
    if name not in budgets:
        raise UserError(f"no budget {name!r}{nearest(name, budgets)}")
    return budgets[name]
