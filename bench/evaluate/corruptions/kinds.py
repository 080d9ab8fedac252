"""The corruptions by name, with the parameters of their five severities."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.errors import UserError
from bench.evaluate.corruptions import blur, digital, noise, weather
from bench.evaluate.corruptions.frost import frost

SEVERITIES = (1, 2, 3, 4, 5)
GROUPS = ("blur", "noise", "digital", "weather")


@dataclass(frozen=True)
class Corruption:
    """One of Table 11's columns: `apply(picture, rng, *parameters[severity - 1])`."""

    group: str
    apply: Callable[..., np.ndarray]
    parameters: tuple[tuple, ...]


def _each(*values: float) -> tuple[tuple[float], ...]:
    return tuple((value,) for value in values)


CORRUPTIONS: dict[str, Corruption] = {
    "motion": Corruption("blur", blur.motion, ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))),
    "defocus": Corruption("blur", blur.defocus, ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5))),
    "glass": Corruption(
        "blur", blur.glass, ((0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3), (1.1, 3, 2), (1.5, 4, 2))
    ),
    "gaussian_blur": Corruption("blur", blur.gaussian, _each(1, 2, 3, 4, 6)),
    "gaussian_noise": Corruption("noise", noise.gaussian, _each(0.08, 0.12, 0.18, 0.26, 0.38)),
    "impulse": Corruption("noise", noise.impulse, _each(0.03, 0.06, 0.09, 0.17, 0.27)),
    "shot": Corruption("noise", noise.shot, _each(60, 25, 12, 5, 3)),
    "speckle": Corruption("noise", noise.speckle, _each(0.15, 0.2, 0.35, 0.45, 0.6)),
    "brightness": Corruption("digital", digital.brightness, _each(0.1, 0.2, 0.3, 0.4, 0.5)),
    "contrast": Corruption("digital", digital.contrast, _each(0.4, 0.3, 0.2, 0.1, 0.05)),
    "saturate": Corruption("digital", digital.saturate, ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2))),
    "jpeg": Corruption("digital", digital.jpeg, _each(25, 18, 15, 10, 7)),
    "snow": Corruption(
        "weather",
        weather.snow,
        (
            (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
            (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
            (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
            (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
            (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
        ),
    ),
    "spatter": Corruption(
        "weather",
        weather.spatter,
        (
            (0.65, 0.3, 4, 0.69, 0.6, False),
            (0.65, 0.3, 3, 0.68, 0.6, False),
            (0.65, 0.3, 2, 0.68, 0.5, False),
            (0.65, 0.3, 1, 0.65, 1.5, True),
            (0.67, 0.4, 1, 0.65, 1.5, True),
        ),
    ),
    "fog": Corruption("weather", weather.fog, ((1.5, 2), (2.0, 2), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4))),
    "frost": Corruption("weather", frost, ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75))),
}  # in the table's order; parameters are ImageNet-C's


def corrupt(
    picture: np.ndarray,
    name: str,
    severity: int,
    rng: np.random.Generator,
    photographs: Path | None = None,
) -> np.ndarray:
    """A picture uint8 [H, W, 3] with corruption `name`.

    `photographs`: of frost, see `frost.frost`. Raises UserError for an unknown name or severity.
    """
    check(name, severity)
    kind = CORRUPTIONS[name]
    parameters = kind.parameters[severity - 1] + ((photographs,) if name == "frost" else ())
    changed = kind.apply(picture / 255.0, rng, *parameters)
    return (np.clip(changed, 0, 1) * 255).astype(np.uint8)


def check(name: str, severity: int) -> None:
    """Raises UserError for an unknown corruption or severity."""
    if name not in CORRUPTIONS:
        raise UserError(f"no corruption {name!r}; known are {', '.join(CORRUPTIONS)}")
    if severity not in SEVERITIES:
        raise UserError(f"corruption {name}: severities are 1 to 5, not {severity}")


def corruption_runs(text: str) -> list[tuple[str, int]]:
    """What "NAME", "NAME:SEVERITY", "GROUP" or "all" asks for: pairs of name and severity. Without a severity
    all five. Raises UserError for anything else."""
    name, colon, severity = text.partition(":")
    if colon and not severity.isdigit():
        raise UserError(f"corruption {text!r}: severities are 1 to 5")
    wanted = SEVERITIES if not colon else (int(severity),)
    names = [key for key, kind in CORRUPTIONS.items() if name in (key, kind.group, "all")] or [name]
    for key in names:
        check(key, wanted[0])
    return [(key, each) for key in names for each in wanted]


def shows_frost(text: str) -> bool:
    """Whether frost is among what `corruption_runs` reads from a text."""
    return any(name == "frost" for name, _ in corruption_runs(text))


def corruption_means(scores: Mapping[tuple[str, int], float]) -> dict[str, float]:
    """From a score by (name, severity): the mean over severities by name, and that of all names as "mean",
    as Table 11's columns; which severities it has, the paper does not say."""
    by_name: dict[str, list[float]] = {}
    for (name, _), score in scores.items():
        by_name.setdefault(name, []).append(score)
    means = {name: sum(found) / len(found) for name, found in by_name.items()}
    return {**means, "mean": sum(means.values()) / len(means)}
