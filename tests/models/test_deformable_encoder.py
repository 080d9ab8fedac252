"""The deformable encoder and the decoder that looks at it: padding changes nothing inside the images."""

import pytest
import torch

from models.attention.deformable import MSDeformAttention, Pyramid
from models.decoders.location import LocationDecoderSpec
from models.deformable_encoder import DeformableEncoderSpec, LevelProjections, unflatten
from models.positions import SinusoidalPositions
from models.spec import SpecError

DIM, SHAPES = 32, [(8, 12), (4, 6)]


def features(seed=0, batch=2):
    source = torch.Generator().manual_seed(seed)
    return [torch.randn(batch, DIM, height, width, generator=source) for height, width in SHAPES]


def parts(layers=2):
    torch.manual_seed(0)
    encoder = DeformableEncoderSpec(layers=layers, ffn_dim=16).build(DIM, len(SHAPES)).eval()
    location = LocationDecoderSpec(layers=3, num_queries=7, ffn_dim=16).build(DIM, len(SHAPES), 5).eval()
    for module in (encoder, location):
        for name, parameter in module.named_parameters():
            if "sampling_offsets.weight" in name or "attention_weights" in name or "heads" in name:
                torch.nn.init.normal_(parameter, std=0.1)
    return encoder, location, SinusoidalPositions(DIM, offset=-0.5)


def test_padding_changes_nothing_inside_the_images():
    encoder, location, positions = parts()
    maps = features()
    padding = [torch.zeros(2, height, width, dtype=torch.bool) for height, width in SHAPES]
    padding[0][1, 6:], padding[0][1, :, 8:] = True, True
    padding[1][1, 3:], padding[1][1, :, 4:] = True, True
    codes = [positions(x, padding=mask) for x, mask in zip(maps, padding, strict=True)]
    memory, pyramid = encoder(maps, codes, padding)
    located = location(memory, pyramid)
    for i, cut in ((0, SHAPES), (1, [(6, 8), (3, 4)])):
        alone = [x[i : i + 1, :, :height, :width] for x, (height, width) in zip(maps, cut, strict=True)]
        own, own_pyramid = encoder(alone, [positions(x) for x in alone])
        inside = [
            x[i : i + 1, :, :height, :width]
            for x, (height, width) in zip(unflatten(memory, SHAPES), cut, strict=True)
        ]
        for ours, expected in zip(inside, unflatten(own, cut), strict=True):
            torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)
        expected = location(own, own_pyramid)
        torch.testing.assert_close(located.queries[i], expected.queries[0], rtol=1e-4, atol=1e-5)
        for ours, theirs in zip(located.predictions, expected.predictions, strict=True):
            torch.testing.assert_close(ours.boxes[i], theirs.boxes[0], rtol=1e-4, atol=1e-5)


def test_positions_count_the_pixels_of_the_image():
    """Row i of n has the code of (i + 1 - 0.5) / n * 2 pi; the first channel is its sine."""
    code = SinusoidalPositions(DIM, offset=-0.5)(torch.zeros(1, DIM, 4, 3))
    expected = torch.sin(torch.tensor([0.5, 1.5, 2.5, 3.5]) / 4 * 2 * torch.pi)
    torch.testing.assert_close(code[0, 0, :, 1], expected, rtol=1e-4, atol=1e-5)
    padding = torch.zeros(1, 4, 3, dtype=torch.bool)
    padding[:, 2:] = True
    code = SinusoidalPositions(DIM, offset=-0.5)(torch.zeros(1, DIM, 4, 3), padding=padding)
    expected = torch.sin(torch.tensor([0.5, 1.5]) / 2 * 2 * torch.pi)
    torch.testing.assert_close(code[0, 0, :2, 1], expected, rtol=1e-4, atol=1e-5)


def test_projections_add_levels_below_the_last_map():
    projections = LevelProjections([4, 6], 32, levels=4)
    levels = projections([torch.randn(1, 4, 9, 13), torch.randn(1, 6, 5, 7)])
    assert [tuple(x.shape[1:]) for x in levels] == [(32, 9, 13), (32, 5, 7), (32, 3, 4), (32, 2, 2)]
    with pytest.raises(SpecError, match="1 levels cannot be fewer than the 2 backbone maps"):
        LevelProjections([4, 6], 32, levels=1)


def test_dropout_is_off_in_evaluation():
    encoder, _, positions = parts()
    maps = features(batch=1)
    codes = [positions(x) for x in maps]
    torch.testing.assert_close(encoder(maps, codes)[0], encoder(maps, codes)[0])
    encoder.train()
    assert not torch.equal(encoder(maps, codes)[0], encoder(maps, codes)[0])


def test_offsets_count_in_the_box():
    """On a map of its own x, heads 0 and 2 look right and left: 1/4 .. 4/4 of the way to the border."""
    attention = MSDeformAttention(dim=4, levels=1, heads=4, points=4)
    for projection in (attention.value_projection, attention.output_projection):
        torch.nn.init.eye_(projection.weight)
    pyramid = Pyramid.of([(10, 10)], torch.zeros(1))
    value = pyramid.centres[None, :, :1].expand(1, -1, 4)
    boxes = torch.tensor([[[0.5, 0.5, 0.4, 0.2], [0.4, 0.3, 0.0, 0.0]]])
    seen = attention(torch.zeros(1, 2, 4), value, pyramid, pyramid.place(boxes))
    expected = torch.tensor([[0.625, 0.5, 0.375, 0.5], [0.4, 0.4, 0.4, 0.4]])
    torch.testing.assert_close(seen[0], expected)
    points = attention(torch.zeros(1, 2, 4), value, pyramid, pyramid.place(boxes[..., :2]))
    torch.testing.assert_close(points[0, 0], torch.tensor([0.75, 0.5, 0.25, 0.5]))


def test_points_of_the_image_lie_in_its_part_of_each_level():
    padding = [torch.zeros(1, 4, 8, dtype=torch.bool), torch.zeros(1, 2, 4, dtype=torch.bool)]
    padding[0][:, :, 6:] = padding[1][:, :, 3:] = True
    pyramid = Pyramid.of([(4, 8), (2, 4)], torch.zeros(1), padding)
    assert pyramid.ratios.tolist() == [[[0.75, 1.0], [0.75, 1.0]]]
    placed = pyramid.place(torch.tensor([[[1.0, 0.5, 0.4, 0.2]]]))
    torch.testing.assert_close(placed[0, 0], torch.tensor([[0.75, 0.5, 0.3, 0.2]]).expand(2, -1))
    assert pyramid.padding.sum() == 8 + 2
