from __future__ import annotations

import colorsys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from bench.data import Sample, open_dataset
from bench.data.jitter import scale_values, shift_hsv, ssd_jitter
from bench.data.transforms import (
    AugmentSpec,
    TrainTransform,
    ade20k_augment,
    cityscapes_augment,
    multiscale_sizes,
    normalise,
    scaled_augment,
    shortest_edge,
    test_resize,
)
from models.spec import SpecError, override, to_dict


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
