"""Semantic segmentation scores of a model on a dataset, at one scale or at several with flips."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench.data.base import Sample, SegmentationDataset
from bench.data.resize import test_resize
from bench.data.transforms import normalise
from bench.evaluate.miou import mean_iou
from models.inference import pad_to_multiple, semantic_inference


@dataclass(frozen=True, kw_only=True)
class TestSpec:
    """How an image is shown to the model.

    Attributes:
        short, longest: the short side is resized to `short` pixels unless the long side would pass `longest`
            (512 and 2048 on ADE20K, 1024 and 2048 on Cityscapes); `short` None keeps the size.
        scales: factors of `short` and `longest`; their probability maps are averaged.
        flip: also show every scale mirrored.
    """

    __test__ = False  # not a test case, whatever its name says

    short: int | None = None
    longest: int | None = None
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False

    def multi_scale(self) -> "TestSpec":
        """The released test-time augmentation: six scales, each with its mirror image."""
        return TestSpec(
            short=self.short, longest=self.longest, scales=(0.5, 0.75, 1.0, 1.25, 1.5, 1.75), flip=True
        )

    def sizes(self, image_size: tuple[int, int]) -> list[tuple[int, int]]:
        """(short, longest) of each scale for an image of `image_size` (H, W), in pixels."""
        short = self.short or min(image_size)
        longest = self.longest * max(self.scales) if self.longest else max(image_size) * max(self.scales) * 2
        return [(int(short * scale), int(longest)) for scale in self.scales]


def semantic_scores(
    model: nn.Module,
    dataset: SegmentationDataset,
    test: TestSpec = TestSpec(),
    *,
    device: torch.device | str | None = None,
    progress: Callable[[Iterable[Sample]], Iterable[Sample]] = iter,
) -> dict[str, float | list[float]]:
    """The scores of `mean_iou` over all of `dataset`, one image at a time.

    `progress` wraps the iteration over samples (for a bar). The model is left in the mode it was in.
    """
    device = torch.device(device) if device else next(model.parameters()).device
    training = model.training
    model.eval()
    try:
        samples = progress(dataset[index] for index in range(len(dataset)))
        pairs = ((predict_semantic(model, s.image, test, device), s.semantic) for s in samples)
        return mean_iou(pairs, dataset.info.num_classes, dataset.info.ignore_index)
    finally:
        model.train(training)


def predict_semantic(model: nn.Module, image: Tensor, test: TestSpec, device: torch.device | str) -> Tensor:
    """The class id of every pixel, int64 [H, W] on the CPU, of an image uint8 [3, H, W]."""
    return semantic_probabilities(model, image, test, device).argmax(0).cpu()


@torch.inference_mode()
def semantic_probabilities(
    model: nn.Module, image: Tensor, test: TestSpec, device: torch.device | str = "cpu"
) -> Tensor:
    """Class scores [K, H, W] at the size of `image`, uint8 [3, H, W]: the mean over scales and flips.

    As released: resize, normalise, pad with zeros to a multiple of 32, predict, bring the masks to the padded
    size, combine with the classes, crop, resize to the original size.
    """
    height, width = image.shape[-2:]
    total, count = 0, 0
    for view, flipped in _views(image, test):
        padded = pad_to_multiple(view[None].to(device), 32)
        output = model(padded)
        scores = semantic_inference(
            output, tuple(padded.shape[-2:]), tuple(view.shape[-2:]), (height, width)
        )[0].float()
        total, count = total + (scores.flip(-1) if flipped else scores), count + 1
    return total / count


def _views(image: Tensor, test: TestSpec) -> Iterator[tuple[Tensor, bool]]:
    """The image as the model is to see it, normalised float [3, h, w], with whether it is mirrored."""
    for short, longest in test.sizes(tuple(image.shape[-2:])):
        view = normalise(test_resize(image, short, longest))
        yield view, False
        if test.flip:
            yield view.flip(-1), True
