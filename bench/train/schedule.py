"""Learning rate as a function of the step: a multiplier of the base rate, 1 at the start."""

from bisect import bisect_right
from dataclasses import dataclass
from typing import ClassVar

from models.spec import Spec


@dataclass(frozen=True, kw_only=True)
class ScheduleSpec(Spec):
    """A schedule. `warmup` steps raise the rate linearly from `warmup_factor` times what it would be without
    them."""

    part: ClassVar[str] = "schedule"
    warmup: int = 0
    warmup_factor: float = 0.0

    def multiplier(self, step: int, steps: int) -> float:
        """What the base rate is multiplied with at `step` (0 .. steps-1) of a run of `steps`."""
        return self._warmed(step) * self.decay(step, steps)

    def decay(self, step: int, steps: int) -> float:
        """The multiplier without the warm-up."""
        raise NotImplementedError

    def _warmed(self, step: int) -> float:
        if step >= self.warmup:
            return 1.0
        progress = step / self.warmup
        return self.warmup_factor * (1 - progress) + progress


@dataclass(frozen=True, kw_only=True)
class PolySchedule(ScheduleSpec):
    """`(1 - step/steps) ** power`: DeepLab's schedule, which reaches 0 after the last step."""

    part: ClassVar[str] = "poly"
    power: float = 0.9

    def decay(self, step: int, steps: int) -> float:
        return (1.0 - step / steps) ** self.power


@dataclass(frozen=True, kw_only=True)
class StepSchedule(ScheduleSpec):
    """Multiplied by `gamma` at each of the milestones, which are fractions of the run (0.889: after 88.9
    %)."""

    part: ClassVar[str] = "step"
    milestones: tuple[float, ...] = (0.9, 0.95)
    gamma: float = 0.1

    def decay(self, step: int, steps: int) -> float:
        return self.gamma ** bisect_right([round(share * steps) for share in self.milestones], step)


@dataclass(frozen=True, kw_only=True)
class ConstantSchedule(ScheduleSpec):
    """The base rate throughout."""

    part: ClassVar[str] = "constant"

    def decay(self, step: int, steps: int) -> float:
        return 1.0
