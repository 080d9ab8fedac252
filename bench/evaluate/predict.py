"""What a model predicts for an image: how the image is shown to it, and what comes back for each task."""

import hashlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bench.data.resize import test_resize
from bench.data.transforms import normalise
from bench.errors import UserError
from models.inference import Frame, Inference, Instances, Panoptic, Task, pad_to_multiple


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

    def of_several_scales(self, preset: str | None) -> "TestSpec":
        """The test-time augmentation of a model that is tested so at one scale.

        By the released configurations of Mask2Former, MaskFormer and FASeg, and by PFT's section IV-A, six
        scales of the size at one scale, each with its mirror image; on every data set.
        """
        return _SCALED_FROM.get(preset or "", self).multi_scale()

    def sizes(self, image_size: tuple[int, int]) -> list[tuple[int, int]]:
        """(short, longest) of each scale for an image of `image_size` (H, W), in pixels."""
        short = self.short or min(image_size)
        longest = self.longest * max(self.scales) if self.longest else max(image_size) * max(self.scales) * 2
        return [(int(short * scale), int(longest)) for scale in self.scales]


# FASeg's released configuration of Swin-L inherits the scales of the 512 pixel models, though it is trained
# and tested at 640.
_SCALED_FROM = {"faseg_swin_l_ade20k": TestSpec(short=512, longest=2048)}


def predict_semantic(model: nn.Module, image: Tensor, test: TestSpec, device: torch.device | str) -> Tensor:
    """The class id of every pixel, int64 [H, W] on the CPU, of an image uint8 [3, H, W].

    As released: resize, normalise, pad with zeros, predict, bring the masks to the padded size, combine with
    the classes, crop, resize to the original size.
    """
    require_task(model.inference, "semantic")
    if len(test.scales) > 1 or test.flip:
        return semantic_probabilities(model, image, test, device).argmax(0).cpu()
    with torch.inference_mode():
        shown = first_output(model, image, test, device)
        return model.inference.semantic_map(*shown)[0].cpu()


@torch.inference_mode()
def semantic_probabilities(
    model: nn.Module, image: Tensor, test: TestSpec, device: torch.device | str = "cpu"
) -> Tensor:
    """Class scores [K, H, W] at the size of `image`, uint8 [3, H, W]: the mean over scales and flips."""
    total, count = 0, 0
    for view, flipped in _views(image, test):
        scores = model.inference.semantic(*_shown(model, view, image, device))[0].float()
        total, count = total + (scores.flip(-1) if flipped else scores), count + 1
    return total / count


@torch.inference_mode()
def predict_panoptic(
    model: nn.Module, image: Tensor, things: Collection[int], test: TestSpec, device: torch.device | str
) -> Panoptic:
    """The segments of an image uint8 [3, H, W], the map [H, W] on the CPU; without segments that lost all of
    their pixels. `things`: the classes whose segments stay apart. Raises UserError as `require_task` does."""
    require_task(model.inference, "panoptic", test)
    found = model.inference.panoptic(*first_output(model, image, test, device), things)[0]
    ids = found.ids.cpu()
    present = set(ids.unique().tolist())
    return Panoptic(ids, [segment for segment in found.segments if segment.id in present])


@torch.inference_mode()
def predict_instances(
    model: nn.Module,
    image: Tensor,
    things: Collection[int] | None,
    test: TestSpec,
    device: torch.device | str,
) -> Instances:
    """The objects in an image uint8 [3, H, W], on the CPU, best first. Raises UserError as `require_task`
    does."""
    require_task(model.inference, "instance", test)
    found = model.inference.instances(*first_output(model, image, test, device), things)[0]
    order = found.scores.argsort(descending=True, stable=True)
    return Instances(found.masks[order].cpu(), found.labels[order].cpu(), found.scores[order].cpu())


@torch.inference_mode()
def output_hash(model: nn.Module, image: Tensor, test: TestSpec, device: torch.device | str) -> str:
    """16 hexadecimal digits of all that the model puts out for the first view of an image uint8 [3, H, W]."""
    output, _ = first_output(model, image, test, device)
    digest = hashlib.sha256()
    for tensor in _tensors(output):
        digest.update(repr((tensor.dtype, tuple(tensor.shape))).encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:16]


def _tensors(value: Any) -> Iterator[Tensor]:
    """The tensors in an output, in order; all fields of its dataclasses and items of its lists."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)
    elif is_dataclass(value):
        for field in fields(value):
            yield from _tensors(getattr(value, field.name))


def require_task(inference: Inference, task: Task, test: TestSpec = TestSpec()) -> None:
    """Raises UserError for a task that a model's inference does not give, and for several scales or flips
    where the task has no way to combine them."""
    if task not in inference.tasks:
        known = " and ".join(inference.tasks)
        raise UserError(f"the model's inference gives {known} results, not {task} ones")
    if task != "semantic" and (len(test.scales) > 1 or test.flip):
        raise UserError(f"several scales are combined for semantic segmentation only, not for {task}")


def first_output(
    model: nn.Module, image: Tensor, test: TestSpec, device: torch.device | str
) -> tuple[Any, Frame]:
    """The model's output for the first view of an image uint8 [3, H, W], and the sizes that it has there."""
    return _shown(model, next(_views(image, test))[0], image, device)


def _shown(model: nn.Module, view: Tensor, image: Tensor, device: torch.device | str) -> tuple[Any, Frame]:
    """The model's output for `view` [3, h, w] of `image`, padded with zeros to a multiple of its divisor."""
    padded = pad_to_multiple(view[None].to(device), model.size_divisor)
    sizes = (tuple(maps.shape[-2:]) for maps in (padded, view, image))
    return model(padded), Frame(*sizes)


def _views(image: Tensor, test: TestSpec) -> Iterator[tuple[Tensor, bool]]:
    """The image as the model is to see it, normalised float [3, h, w], with whether it is mirrored."""
    for short, longest in test.sizes(tuple(image.shape[-2:])):
        view = normalise(test_resize(image, short, longest))
        yield view, False
        if test.flip:
            yield view.flip(-1), True
