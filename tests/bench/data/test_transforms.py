from __future__ import annotations

import colorsys
import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from bench.data import Sample, open_dataset
from bench.data.base import Objects
from bench.data.jitter import FACTORS, HUE_STEPS, scale_values, shift_hsv, ssd_jitter
from bench.data.layers import Layers
from bench.data.steps import CropBetween, ScaleWithin
from bench.data.transforms import (
    AugmentSpec,
    LargeScaleJitterSpec,
    ResizeOrCropSpec,
    TrainTransform,
    ade20k_augment,
    cityscapes_augment,
    multiscale_sizes,
    normalise,
    scaled_augment,
    shortest_edge,
    test_resize,
)
from bench.train.spec import TrainSpec
from models.spec import SpecError, from_dict, override, to_dict


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def sample_of(height: int, width: int) -> Sample:
    """Image whose red channel is the label; the label encodes the position."""
    labels = (torch.arange(height)[:, None] * 7 + torch.arange(width)[None, :] * 3) % 200
    labels = labels.to(torch.uint8)
    return Sample(image=labels.repeat(3, 1, 1), semantic=labels, name="position")


def test_paper_values():
    ade = ade20k_augment()
    assert ade.short_sides == (
        256, 307, 358, 409, 460, 512, 563, 614, 665, 716, 768, 819, 870, 921, 972, 1024,
    )  # fmt: skip
    assert (ade.long_max, ade.crop, ade.jitter, ade.flip) == (2048, (512, 512), True, 0.5)
    assert (ade.pad, ade.pad_value) == (True, 128)
    assert ade20k_augment(640).long_max == 2560 and ade20k_augment(640).short_sides[-1] == 1280
    city = cityscapes_augment()
    assert (city.short_sides[0], city.short_sides[-1], city.long_max) == (512, 2048, 4096)
    assert (city.crop, city.pad) == ((512, 1024), False)
    assert multiscale_sizes(512) == (256, 384, 512, 640, 768, 896)


def test_augment_spec_is_a_checked_spec():
    spec = override(AugmentSpec(), {"crop": [64, 96], "flip": 0.5})
    assert spec.crop == (64, 96) and to_dict(spec)["part"] == "augment"
    for wrong in ({"crop": (0, 5)}, {"flip": 1.5}, {"pad": True}, {"pad_value": 300}):
        with pytest.raises(SpecError):
            AugmentSpec(**wrong)


# Sizes that detectron2's ResizeShortestEdge.get_output_shape gives.
@pytest.mark.parametrize(
    ("size", "short", "long_max", "expected"),
    [
        ((512, 683), 512, 2048, (512, 683)),
        ((300, 400), 512, 2048, (512, 683)),
        ((256, 1104), 512, 2048, (475, 2048)),
        ((683, 512), 640, 2560, (854, 640)),
        ((1024, 2048), 1024, 2048, (1024, 2048)),
        ((333, 500), 307, 2048, (307, 461)),
    ],
)
def test_shortest_edge_rounds_as_detectron2(size, short, long_max, expected):
    assert shortest_edge(*size, short, long_max) == expected


def test_resize_is_pillows():
    image = open_dataset("embedded", size=(96, 130))[0].image
    resized = test_resize(image, 64, 2048)
    pillow = Image.fromarray(image.permute(1, 2, 0).numpy()).resize((87, 64), Image.Resampling.BILINEAR)
    assert torch.equal(resized, torch.from_numpy(np.array(pillow)).permute(2, 0, 1))
    sample = open_dataset("embedded", size=(96, 130))[0]
    assert torch.equal(test_resize(sample, 64, 2048), resized)


def test_same_generator_state_same_result():
    sample = open_dataset("embedded", size=(96, 128))[0]
    transform = TrainTransform(scaled_augment(96, (96, 96)))
    first, again, other = (transform(sample, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first.image, again.image) and torch.equal(first.semantic, again.semantic)
    assert not torch.equal(first.image, other.image)


def test_global_random_state_is_not_touched():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    sample = open_dataset("embedded", size=64)[0]
    TrainTransform(scaled_augment(64, (64, 64)))(sample, generator())
    assert torch.equal(torch.get_rng_state(), before)


def test_image_and_labels_stay_together():
    sample = sample_of(70, 90)
    transform = TrainTransform(AugmentSpec(crop=(40, 50), flip=0.5))
    flipped = set()
    for seed in range(12):
        found = transform(sample, generator(seed))
        image, semantic = found.image, found.semantic
        assert image.shape == (3, 40, 50) and semantic.shape == (40, 50)
        assert torch.equal(image[0], semantic)
        flipped.add(bool((semantic[0, 1].int() - semantic[0, 0].int()) % 200 != 3))
    assert flipped == {False, True}


def test_crops_reach_every_border():
    sample = sample_of(10, 12)
    transform = TrainTransform(AugmentSpec(crop=(9, 10)))
    corners = {int(transform(sample, generator(seed)).semantic[0, 0]) for seed in range(60)}
    assert corners == {7 * y + 3 * x for y in range(2) for x in range(3)}


def test_scale_is_chosen_among_all_and_limited():
    sample = sample_of(50, 200)
    transform = TrainTransform(AugmentSpec(short_sides=(25, 50, 100), long_max=240))
    sizes = {tuple(transform(sample, generator(seed)).semantic.shape) for seed in range(30)}
    assert sizes == {(25, 100), (50, 200), (60, 240)}


def test_padding_right_and_below():
    sample = Sample(
        image=torch.full((3, 20, 30), 7, dtype=torch.uint8),
        semantic=torch.full((20, 30), 4, dtype=torch.uint8),
        name="small",
    )
    found = TrainTransform(AugmentSpec(crop=(32, 40), pad=True))(sample, generator())
    image, semantic = found.image, found.semantic
    assert image.shape == (3, 32, 40) and semantic.shape == (32, 40)
    assert (image[:, :20, :30] == 7).all() and (semantic[:20, :30] == 4).all()
    assert (image[:, 20:] == 128).all() and (image[:, :, 30:] == 128).all()
    assert (semantic[20:] == 255).all() and (semantic[:, 30:] == 255).all()
    found = TrainTransform(AugmentSpec(crop=(32, 40)))(sample, generator())
    image, semantic = found.image, found.semantic
    assert image.shape == (3, 20, 30)


def test_ade20k_protocol_gives_crops_of_512_without_new_labels():
    sample = open_dataset("embedded", size=(150, 200))[0]
    found = TrainTransform(ade20k_augment())(sample, generator(3))
    image, semantic = found.image, found.semantic
    assert image.shape == (3, 512, 512) and image.dtype == torch.uint8
    assert set(semantic.unique().tolist()) <= set(sample.semantic.unique().tolist()) | {255}


def test_jitter_steps():
    image = Image.new("RGB", (2, 2), (100, 150, 200))
    assert scale_values(image, 1.5).getpixel((0, 0)) == (150, 225, 255)
    assert scale_values(image, 1.0, -120.5).getpixel((0, 0)) == (0, 29, 79)
    h, s, v = colorsys.rgb_to_hsv(100 / 255, 150 / 255, 200 / 255)
    expected = [255 * c for c in colorsys.hsv_to_rgb((h + 36 / 360) % 1, s * 0.5, v)]
    found = shift_hsv(image, 0.5, 18).getpixel((0, 0))
    assert max(abs(a - b) for a, b in zip(found, expected, strict=True)) < 3
    assert shift_hsv(image, 1.0, 0) is image


def test_jitter_takes_each_step_half_of_the_time():
    """Black stays black under all but a positive offset of brightness."""
    black = Image.new("RGB", (1, 1), (0, 0, 0))
    values = [ssd_jitter(black, generator(seed)).getpixel((0, 0))[0] for seed in range(400)]
    lifted = sum(value > 0 for value in values)
    assert 70 < lifted < 130  # a quarter of 400, and 3.5 standard deviations either side
    assert 32 < max(values) <= 48  # offset up to 32, then contrast up to 1.5


def test_jitter_turns_the_hue_and_changes_the_contrast_this_far():
    """36 degrees and a factor of 1/2 to 3/2, each reached but not passed."""
    image = Image.new("RGB", (1, 1), (80, 60, 60))  # no value is cut off before all steps are done
    turns = []
    for seed in range(1500):
        pixel = ssd_jitter(image, generator(seed)).getpixel((0, 0))
        turns.append((360 * colorsys.rgb_to_hsv(*pixel)[0] + 180) % 360 - 180)
    assert -42 < min(turns) < -33 and 33 < max(turns) < 42  # a level of 255 is 6 degrees here
    assert FACTORS == (0.5, 1.5) and HUE_STEPS * 2 == 36
    grey = Image.new("RGB", (1, 1), (100, 100, 100))
    values = [ssd_jitter(grey, generator(seed)).getpixel((0, 0))[0] for seed in range(1500)]
    assert 34 <= min(values) < 42 and 180 < max(values) <= 198  # 0.5 * 68 to 1.5 * 132


def test_normalise_values():
    image = torch.tensor([124, 116, 104], dtype=torch.uint8)[:, None, None].expand(3, 2, 2)
    found = normalise(image)
    expected = torch.tensor([(124 - 123.675) / 58.395, (116 - 116.28) / 57.12, (104 - 103.53) / 57.375])
    assert found.dtype == torch.float32
    assert torch.allclose(found[:, 0, 0], expected, atol=1e-6)
    assert torch.equal(normalise(image[None])[0], found)


def test_instances_are_augmented_like_the_classes():
    sample = open_dataset("embedded", size=(96, 128))[0]
    transform = TrainTransform(scaled_augment(96, (96, 96)))
    for seed in range(4):
        found = transform(sample, generator(seed))
        plain = transform(replace(sample, instances=None), generator(seed))
        assert torch.equal(found.image, plain.image) and torch.equal(found.semantic, plain.semantic)
        assert plain.instances is None and found.instances.dtype == torch.int32
        assert torch.equal(found.instances > 0, (found.semantic >= 6) & (found.semantic != 255))


def test_padding_belongs_to_no_object():
    sample = Sample(
        image=torch.zeros(3, 4, 4, dtype=torch.uint8),
        semantic=torch.zeros(4, 4, dtype=torch.uint8),
        instances=torch.full((4, 4), 70_000, dtype=torch.int32),
        name="small",
    )
    found = TrainTransform(AugmentSpec(crop=(6, 5), pad=True))(sample, generator())
    assert (found.instances[:4, :4] == 70_000).all() and int((found.instances == 0).sum()) == 14


EVERY_KIND = {
    "plain": AugmentSpec(),
    "scaled": scaled_augment(96, (96, 96)),
    "flipped": AugmentSpec(flip=1.0),
    "large scale jitter": LargeScaleJitterSpec(crop=(96, 80)),
    "resize or crop": ResizeOrCropSpec(
        short_sides=(60, 90), long_max=110, first_sides=(70,), crop_range=(40, 64)
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_objects_are_augmented_like_the_instances(kind):
    """A mask for each number gives what the map of numbers gives."""
    sample = open_dataset("embedded", size=(96, 128))[0]
    numbers = torch.arange(1, 12, dtype=torch.int32)
    objects = Objects(
        labels=numbers.long(),
        masks=sample.instances == numbers[:, None, None],
        crowd=numbers == 3,
        areas=torch.ones(11),
    )
    transform = TrainTransform(EVERY_KIND[kind])
    for seed in range(8):
        plain = transform(sample, generator(seed))
        found = transform(replace(sample, objects=objects, crowd=frozenset({3})), generator(seed))
        assert torch.equal(found.image, plain.image) and torch.equal(found.instances, plain.instances)
        assert torch.equal(found.objects.masks, plain.instances == numbers[:, None, None])
        assert found.objects.crowd is objects.crowd and found.crowd == {3}
        assert (found.objects.areas is None) == (kind != "plain")  # those of the file hold for its image


def test_checks_of_the_coco_augmentations():
    for wrong in ({"low": 0.0}, {"low": 3.0}, {"crop": (0, 9)}, {"flip": -0.1}, {"pad_value": 256}):
        with pytest.raises(SpecError):
            LargeScaleJitterSpec(**wrong)
    for wrong in ({"short_sides": ()}, {"first_sides": (0,)}, {"crop_range": (9, 8)}, {"flip": 2.0}):
        with pytest.raises(SpecError):
            ResizeOrCropSpec(**wrong)
    chosen = override(TrainSpec(), {"augment": "large_scale_jitter", "augment.high": 1.5})
    assert chosen.augment == LargeScaleJitterSpec(high=1.5)
    assert from_dict(TrainSpec, to_dict(chosen)) == chosen


# What detectron2's ResizeScale gives for a target of 1024 x 1024.
@pytest.mark.parametrize(
    ("size", "factor", "expected"),
    [
        ((480, 640), 0.1, (77, 102)),
        ((480, 640), 2.0, (1536, 2048)),
        ((640, 427), 1.0, (1024, 683)),
        ((375, 500), 0.73, (561, 748)),
        ((2, 600), 0.1, (1, 102)),
    ],
)
def test_a_scale_fits_the_image_into_the_target(size, factor, expected):
    layers = Layers.of(sample_of(*size))
    assert ScaleWithin((1024, 1024), factor, factor)(layers, generator()).size == expected


def test_scales_are_uniform():
    """An image as high as wide times the target of 100 is as high as 100 times the factor."""
    layers, step, source = Layers.of(sample_of(4, 4)), ScaleWithin((100, 100), 0.1, 2.0), generator(1)
    heights = torch.tensor([float(step(layers, source).size[0]) for _ in range(800)])
    assert heights.min() < 13 and heights.max() > 197
    quarters = torch.tensor([0.25, 0.5, 0.75])
    assert torch.allclose(heights.quantile(quarters), 10 + 190 * quarters, atol=14)  # 4 standard deviations


def test_large_scale_jitter_crops_on_the_diagonal_and_pads():
    sample = sample_of(20, 26)
    spec = LargeScaleJitterSpec(crop=(13, 13), low=2.0, high=2.0, flip=0.0)  # as large as it is: 20 x 26
    corners = set()
    for seed in range(60):
        found = TrainTransform(spec)(sample, generator(seed))
        assert found.image.shape == (3, 13, 13) and torch.equal(found.image[0], found.semantic)
        corners.add(int(found.semantic[0, 0]))
    ends = {7 * round(share * 7 / 700) + 3 * round(share * 13 / 700) for share in range(701)}
    assert corners <= ends and {0, 7 * 7 + 3 * 13} <= corners and len(corners) > 10
    small = TrainTransform(replace(spec, low=0.5, high=0.5))(sample, generator())
    assert small.image.shape == (3, 13, 13) and (small.image[:, 5:] == 128).all()
    assert (small.semantic[5:] == 255).all() and (small.semantic[:, 6:] == 255).all()
    assert (small.semantic[:5, :6] != 255).all()


def test_large_scale_jitter_mirrors_before_it_crops():
    """Else the place on the diagonal would be mirrored with the image."""
    found = TrainTransform(LargeScaleJitterSpec(crop=(13, 13), low=2.0, high=2.0, flip=1.0))
    images = [found(sample_of(20, 26), generator(seed)).image[0].int() for seed in range(20)]
    places = {(int(image[0, 0]) - 3 * 25) for image in images}  # 7 top - 3 left, both from one number
    assert places <= {7 * round(s * 7 / 700) - 3 * round(s * 13 / 700) for s in range(701)}


def test_resize_or_crop_takes_each_way_half_of_the_time():
    spec = ResizeOrCropSpec(
        short_sides=(30, 40), long_max=70, first_sides=(36,), crop_range=(20, 24), flip=0.0
    )
    sample, ways = sample_of(60, 120), []
    for seed in range(300):
        height, width = TrainTransform(spec)(sample, generator(seed)).size
        assert min(height, width) in (30, 40) or max(height, width) == 70
        ways.append(width / height < 1.5)  # the whole is twice as wide as high, a crop at most 24 by 20
    assert 120 < sum(ways) < 180  # half of 300, and 3.5 standard deviations either side
    sizes = {TrainTransform(spec)(sample, generator(seed)).size for seed, way in enumerate(ways) if not way}
    assert sizes == {(30, 60), (35, 70)}


def test_crops_between_two_sizes_are_uniform_and_stay_inside():
    layers, step, source = Layers.of(sample_of(5, 40)), CropBetween(3, 8), generator(2)
    sizes = [step(layers, source).size for _ in range(900)]
    heights, widths = (torch.tensor(values).bincount() for values in zip(*sizes, strict=True))
    assert heights[3:].tolist() == pytest.approx([300] * 3, abs=50) and int(heights[:3].sum()) == 0
    assert widths[3:].tolist() == pytest.approx([150] * 6, abs=40) and len(widths) == 9


def test_detrs_line_reaches_its_printed_sizes():
    found = {
        TrainTransform(ResizeOrCropSpec())(sample_of(48, 64), generator(seed)).size for seed in range(25)
    }
    assert all(480 <= min(size) <= 800 and max(size) <= 1333 for size in found)
    whole = {(side, shortest_edge(48, 64, side, 1333)[1]) for side in range(480, 801, 32)}
    assert len(found & whole) > 4 and len(found - whole) > 4


# Of the code before the steps were taken apart; those of COCO's augmentations since they exist.
DRAWN = {
    "scaled": "df2d4aff80c1948e",
    "flipped": "652921fd5e6e2296",
    "large scale jitter": "40c76897f9908414",
    "resize or crop": "30890d87ea7fcc10",
}


@pytest.mark.parametrize("kind", DRAWN)
def test_what_is_drawn_stays(kind):
    """Else a run that is continued would not see what it would have seen. Labels and generator alone: what
    bilinear resizing gives is Pillow's affair."""
    transform, digest = TrainTransform(EVERY_KIND[kind]), hashlib.sha256()
    sample = open_dataset("embedded", size=(96, 128))[0]
    for seed in range(6):
        source = generator(seed)
        found = transform(sample, source)
        for values in (found.semantic, found.instances, torch.rand(2, generator=source)):
            digest.update(values.numpy().tobytes())
    assert digest.hexdigest()[:16] == DRAWN[kind]
