"""Positional queries: DFPQ step by step against FASeg's equation 2, released and paper forms."""

import pytest
import torch

from models.attention import Attended, Level
from models.queries import DFPQSpec, LearnableQueriesSpec

QUERIES, DIM = 3, 4


def level():
    return Level(torch.randn(2, 6, DIM), torch.randn(2, 6, DIM), (2, 3), 32)


def probabilities():
    """Query 0: two pixels foreground; query 1: all; query 2: none."""
    p = torch.full((2, QUERIES, 2, 3), 0.2)
    p[:, 0, 0, 1] = p[:, 0, 1, 2] = 0.5  # exactly one half counts as foreground
    p[:, 1] = 0.8
    return p


def test_learnable_queries_never_change():
    queries = LearnableQueriesSpec().build(QUERIES, DIM)
    places = queries.start(None, level())
    assert torch.equal(places.cross[0], queries.embedding.weight)
    attended = Attended(torch.randn(2, QUERIES, DIM), torch.rand(2, QUERIES, 6), torch.randn(2, 6, DIM))
    assert queries.update(places, attended, False) is places
    assert not queries.reads(False)


@pytest.mark.parametrize("initial", ["background", "foreground"])
def test_the_first_positions_average_a_region(initial):
    features = level()
    queries = DFPQSpec(initial=initial).build(QUERIES, DIM)
    places = queries.start(probabilities(), features).cross
    region = [[1, 5], [0, 1, 2, 3, 4, 5], []]
    if initial == "background":
        region = [[i for i in range(6) if i not in pixels] for pixels in region]
    for query, pixels in enumerate(region):
        mean = features.positions[:, pixels].mean(1) if pixels else torch.zeros(2, DIM)
        expected = queries.project(mean + queries.embedding.weight[query])
        torch.testing.assert_close(places[:, query], expected, rtol=1e-4, atol=1e-5)


def test_the_first_positions_without_projection():
    features = level()
    queries = DFPQSpec(project_initial=False).build(QUERIES, DIM)
    places = queries.start(probabilities(), features).cross
    torch.testing.assert_close(places[:, 1], queries.embedding.weight[1].expand(2, DIM))  # no background
    expected = features.positions.mean(1) + queries.embedding.weight[2]
    torch.testing.assert_close(places[:, 2], expected, rtol=1e-4, atol=1e-5)


def attended():
    scores = torch.rand(2, QUERIES, 6).softmax(-1)
    return Attended(torch.randn(2, QUERIES, DIM), scores, torch.randn(2, 6, DIM))


def test_released_positions_after_a_block():
    queries = DFPQSpec().build(QUERIES, DIM)
    before = queries.start(probabilities(), level())
    block = attended()
    after = queries.update(before, block, high_resolution=False)
    pooled = torch.stack([block.scores[b] @ block.positions[b] for b in range(2)])
    expected = queries.project(pooled + queries.embedding.weight)
    torch.testing.assert_close(after.cross, expected)
    torch.testing.assert_close(after.self_attention, expected)
    assert torch.equal(after.high_resolution[0], queries.embedding.weight)
    assert queries.update(after, attended(), high_resolution=True) is after
    assert queries.reads(False) and not queries.reads(True)


def test_paper_positions_after_a_block():
    spec = DFPQSpec(high_resolution="dynamic", self_attention="learnable", update_after="all")
    queries = spec.build(QUERIES, DIM)
    before = queries.start(probabilities(), level())
    after = queries.update(before, attended(), high_resolution=True)
    assert not torch.allclose(after.cross, before.cross)
    assert torch.equal(after.high_resolution, after.cross)
    assert torch.equal(after.self_attention[0], queries.embedding.weight)


def test_pooling_stays_in_full_precision_under_autocast():
    queries = DFPQSpec().build(QUERIES, DIM)
    scores, positions = torch.rand(2, QUERIES, 6), torch.randn(1, 6, DIM)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        pooled = queries.pool(scores, positions)
    assert pooled.dtype == torch.float32
    torch.testing.assert_close(pooled, scores @ positions[0])


def test_gradients_reach_scores_and_positions():
    queries = DFPQSpec().build(QUERIES, DIM)
    block = attended()
    block.scores.requires_grad_(), block.positions.requires_grad_()
    queries.update(queries.start(probabilities(), level()), block, False).cross.sum().backward()
    assert block.scores.grad.abs().sum() > 0 and block.positions.grad.abs().sum() > 0
