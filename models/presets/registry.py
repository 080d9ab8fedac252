"""What a system's file of presets holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from models.spec import Spec, SpecError

Presets = Mapping[str, Callable[[str], Spec]]
"""The spec of each preset as a function of the variant, "released" or "paper"."""


def fixed(make: Callable[[], Spec]) -> Callable[[str], Spec]:
    """A preset of which there is one variant only.

    The function that it gives raises SpecError for another.
    """

    def of_variant(variant: str) -> Spec:
        if variant != "released":
            raise SpecError(f"there is no variant {variant!r} of it")
        return make()

    return of_variant
