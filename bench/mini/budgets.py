"""How much a mini replication spends: named sizes of the same experiment."""

from dataclasses import asdict, dataclass

from bench.data.transforms import AugmentSpec
from bench.errors import UserError, nearest
from bench.train.schedule import PolySchedule
from bench.train.spec import TrainSpec

IMAGE_SIZE = 192
"""Pixels a side: 36 cells at stride 32, of which the released HRCA selects one in 32, rounded down."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """One size of the experiment.

    Attributes:
        steps, batch: of each training.
        train_images, eval_images: samples of the embedded dataset's "train" and "val" splits.
        seeds: trainings of each row, seeded 0, 1, ...
    """

    name: str
    steps: int
    batch: int
    train_images: int
    eval_images: int
    seeds: int

    def train_spec(self, seed: int) -> TrainSpec:
        """The training of one row with one seed: the same for every row."""
        return TrainSpec(
            steps=self.steps,
            batch=self.batch,
            lr=2e-3,  # 1e-3 learns slower and 4e-3 no faster in so few steps
            backbone_lr_factor=1.0,
            clip=1.0,
            schedule=PolySchedule(warmup=10),
            amp="off",
            augment=AugmentSpec(flip=0.5),
            seed=seed,
            checkpoint_every=100,
        )

    def summary(self) -> dict[str, object]:
        """What a report says about it, JSON-able."""
        fields = {name: value for name, value in asdict(self).items() if name != "seeds"}
        return {**fields, "image_size": [IMAGE_SIZE, IMAGE_SIZE], "learning_rate": self.train_spec(0).lr}


BUDGETS = {
    budget.name: budget
    for budget in (
        Budget(name="small", steps=150, batch=1, train_images=400, eval_images=50, seeds=3),
        Budget(name="medium", steps=1000, batch=2, train_images=1000, eval_images=200, seeds=3),
        Budget(name="large", steps=6000, batch=4, train_images=2000, eval_images=200, seeds=5),
    )
}


def budget_named(name: str) -> Budget:
    """The budget of this name. Raises UserError naming the nearest."""
    if name not in BUDGETS:
        raise UserError(f"no budget {name!r}{nearest(name, BUDGETS)}")
    return BUDGETS[name]
