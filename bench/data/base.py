"""What every dataset gives: samples, class information, a checksum."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field

from torch import Tensor

IGNORE = 255
"""Label of a pixel that belongs to no class, in every dataset of this package."""


@dataclass(frozen=True, kw_only=True)
class DatasetInfo:
    """The classes of a dataset.

    classes: names, index = class id; colors: RGB 0..255 for drawing, same order;
    things: ids of the countable classes (the others are stuff);
    categories: ids of the classes in files that the data set's own tools read, same order; (): the class ids.
    """

    name: str
    classes: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]
    ignore_index: int = IGNORE
    things: frozenset[int] = field(default_factory=frozenset)
    categories: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if len(self.classes) != len(self.colors):
            raise ValueError(f"{self.name}: {len(self.classes)} classes but {len(self.colors)} colours")
        if self.categories and len(self.categories) != len(self.classes):
            counts = f"{len(self.classes)} classes but {len(self.categories)} categories"
            raise ValueError(f"{self.name}: {counts}")

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    def category(self, label: int) -> int:
        """The id of class `label` in the data set's files."""
        return self.categories[label] if self.categories else label


@dataclass(frozen=True, kw_only=True, eq=False)
class Objects:
    """Labelled objects of one image, each with a mask of its own; the masks may overlap.

    labels: int64 [N], class ids; masks: bool [N,H,W]; crowd: bool [N], regions of many objects that are not
    told apart: nothing is trained on them, and PQ and AP do not count what is found there;
    areas: float64 [N] in pixels as the label file has them, by which AP sorts objects into small, medium and
    large, or None: those of the masks.
    """

    labels: Tensor
    masks: Tensor
    crowd: Tensor
    areas: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def where(self, keep: Tensor) -> Objects:
        """Those with `keep` (bool [N])."""
        areas = None if self.areas is None else self.areas[keep]
        return Objects(
            labels=self.labels[keep], masks=self.masks[keep], crowd=self.crowd[keep], areas=areas
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """One labelled image.

    image: uint8 [3,H,W], RGB; semantic: uint8 [H,W], class id or 255 (ignore);
    instances: int32 [H,W], 0 where there is no object, else the object's number in this image (from 1),
    or None where the dataset has no instance labels; name: unique in the dataset, used for output files;
    crowd: the numbers in `instances` that are crowds;
    objects: where label files hold objects that may overlap; `semantic` is 255 where they hold no classes by
    pixel.
    """

    image: Tensor
    semantic: Tensor
    name: str
    instances: Tensor | None = None
    crowd: frozenset[int] = frozenset()
    objects: Objects | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return int(self.image.shape[-2]), int(self.image.shape[-1])


class SegmentationDataset(ABC):
    """A finite, indexable set of `Sample`; item i is always the same.

    `skipped` names the samples that `skip_corrupt=True` left out (always empty for generated data);
    `published` is how many samples the official split has, where the files are of another release than that
    whose counts the registry holds.
    """

    info: DatasetInfo
    split: str
    skipped: tuple[str, ...] = ()
    published: int | None = None

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: int) -> Sample: ...

    @abstractmethod
    def checksum(self) -> str:
        """16 hexadecimal digits that change when the content may have changed; cheap, part of result keys."""

    def __iter__(self) -> Iterator[Sample]:
        return (self[i] for i in range(len(self)))
