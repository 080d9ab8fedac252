"""Positional queries of FASeg's Table 5 beside DFPQ, DFPQ that begins later, and content queries."""

import math

import pytest
import torch

from models.attention import Attended, Level
from models.positions import SinusoidalPositions
from models.queries import (
    AnchorQueriesSpec,
    DFPQSpec,
    ForegroundQueriesSpec,
    GridAnchorsSpec,
    LearnableContentSpec,
    ZeroContentSpec,
)
from models.queries.anchors import encode_points, grid_points

QUERIES, DIM = 3, 8


def level(size=(2, 3), stride=32):
    pixels = size[0] * size[1]
    return Level(torch.randn(2, pixels, DIM), torch.randn(2, pixels, DIM), size, stride)


def probabilities():
    """Query 0: two pixels foreground; query 1: all; query 2: none."""
    p = torch.full((2, QUERIES, 2, 3), 0.2)
    p[:, 0, 0, 1] = p[:, 0, 1, 2] = 0.5
    p[:, 1] = 0.8
    return p


def test_grid_points_lie_in_the_middle_of_the_cells():
    grid = grid_points(100)
    torch.testing.assert_close(grid[0], torch.tensor([0.05, 0.05]))
    torch.testing.assert_close(grid[12], torch.tensor([0.25, 0.15]))  # row 1, column 2
    torch.testing.assert_close(grid[99], torch.tensor([0.95, 0.95]))
    expected = torch.tensor([[1 / 6, 0.25], [0.5, 0.25], [5 / 6, 0.25], [1 / 6, 0.75], [0.5, 0.75]])
    torch.testing.assert_close(grid_points(5), expected)


def test_points_are_encoded_as_pixels_are():
    """Pixel (row 1, column 2) of 4 x 5 lies at (3 / 5, 2 / 4): sinusoids count from 1, the last is at 1."""
    sines = SinusoidalPositions(DIM)(torch.zeros(1, DIM, 4, 5))
    code = encode_points(torch.tensor([3 / 5, 2 / 4]), DIM)
    torch.testing.assert_close(code, sines[0, :, 1, 2], rtol=1e-4, atol=1e-5)
    half = code[: DIM // 2]  # y first
    torch.testing.assert_close(half[0].item(), math.sin(math.pi), rtol=0, atol=1e-5)
    torch.testing.assert_close(half[1].item(), math.cos(math.pi), rtol=0, atol=1e-5)


def test_grid_anchors_are_the_same_for_every_image_and_block():
    queries = GridAnchorsSpec().build(QUERIES, DIM)
    places = queries.start(None, level())
    expected = queries.project(encode_points(grid_points(QUERIES), DIM))
    for positions in (places.cross, places.high_resolution, places.self_attention):
        torch.testing.assert_close(positions[0], expected)
    assert not queries.reads(False) and not queries.steers(False)
    assert {name.split(".")[0] for name, _ in queries.named_parameters()} == {"project"}


def test_dynamic_foreground_averages_encodings_over_the_mask():
    queries, features = ForegroundQueriesSpec().build(QUERIES, DIM), level()
    places = queries.start(probabilities(), features)
    for query, pixels in enumerate([[1, 5], [0, 1, 2, 3, 4, 5], []]):
        mean = features.positions[:, pixels].mean(1) if pixels else torch.zeros(2, DIM)
        expected = queries.project(mean + queries.embedding.weight[query])
        torch.testing.assert_close(places.cross[:, query], expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(places.self_attention, places.cross)
    assert torch.equal(places.high_resolution[0], queries.embedding.weight)


def test_dynamic_anchors_are_centres_of_masks():
    queries, features = AnchorQueriesSpec().build(QUERIES, DIM), level()
    places = queries.start(probabilities(), features)
    centres = [(2 / 3, 0.5), (0.5, 0.5), (0.5, 0.5)]  # pixels (x, y) = (1.5, 0.5) and (2.5, 1.5) of 3 x 2
    for query, centre in enumerate(centres):
        code = encode_points(torch.tensor(centre), DIM)
        expected = queries.project(code + queries.embedding.weight[query]).expand(2, DIM)
        torch.testing.assert_close(places.cross[:, query], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("spec", [ForegroundQueriesSpec, AnchorQueriesSpec])
def test_masks_renew_positions_before_each_block(spec):
    queries = spec().build(QUERIES, DIM)
    first, fine = queries.start(probabilities(), level()), level((4, 6), 16)
    masks = torch.rand(2, QUERIES, 4, 6)
    later = queries.renew(first, masks, fine)
    torch.testing.assert_close(later.cross, queries.start(masks, fine).cross)
    assert not torch.allclose(later.cross, first.cross)
    assert queries.steers(False) and not queries.steers(True)
    assert spec(high_resolution="dynamic").build(QUERIES, DIM).steers(True)
    with pytest.raises(ValueError, match="masks"):
        queries.start(None, level())


def test_dfpq_that_begins_later_starts_with_learned_positions():
    queries, features = DFPQSpec(begin=0.25).build(QUERIES, DIM), level()
    dynamic = queries.start(probabilities(), features).cross  # of a finished model
    queries.progress = 0.2
    places = queries.start(probabilities(), features)
    learned = queries.embedding.weight.expand(2, QUERIES, DIM)
    assert torch.equal(places.cross, learned) and torch.equal(places.self_attention, learned)
    scores = torch.rand(2, QUERIES, 6).softmax(-1)
    block = Attended(torch.randn(2, QUERIES, DIM), scores, features.positions)
    after = queries.update(places, block, high_resolution=False).cross
    assert torch.equal(after, learned)
    after.sum().backward()
    assert all(p.grad is not None for p in queries.parameters())  # the graph stays the same
    assert not any(p.grad.any() for p in queries.project.parameters())
    queries.progress = 0.25
    torch.testing.assert_close(queries.start(probabilities(), features).cross, dynamic)


def test_content_queries():
    zero, learned = ZeroContentSpec().build(QUERIES, DIM), LearnableContentSpec().build(QUERIES, DIM)
    assert torch.equal(zero.weight, torch.zeros(QUERIES, DIM))
    assert not list(zero.parameters()) and not zero.state_dict()
    assert learned.weight.shape == (QUERIES, DIM) and learned.weight.requires_grad
