"""Attention: against torch's own, and each policy's choice of keys."""

import pytest
import torch
from torch import nn

from models.attention import (
    CellSelectionSpec,
    Context,
    HRCASpec,
    Level,
    MaskedAttentionSpec,
    MSDeformAttention,
    MultiheadAttention,
    PixelSelectionSpec,
)
from models.attention.deformable import Pyramid


def same_as_torch(dim=16, heads=4):
    ours, theirs = MultiheadAttention(dim, heads), nn.MultiheadAttention(dim, heads, batch_first=True)
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.normal_()
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("scores", [None, "masked"])
def test_multihead_attention_equals_torch(masked, scores):
    torch.manual_seed(0)
    ours, theirs = same_as_torch()
    query, key, value = torch.randn(2, 3, 16), torch.randn(2, 5, 16), torch.randn(2, 5, 16)
    forbidden = torch.rand(2, 3, 5) < 0.5 if masked else None
    mask = None
    if forbidden is not None:
        forbidden[..., 0] = False
        mask = forbidden.repeat_interleave(4, dim=0)
    output, mean = ours(query, key, value, forbidden, scores)
    expected, expected_mean = theirs(query, key, value, attn_mask=mask)
    torch.testing.assert_close(output, expected, rtol=1e-4, atol=1e-5)
    if scores:
        torch.testing.assert_close(mean, expected_mean, rtol=1e-4, atol=1e-6)
    else:
        assert mean is None


def test_scores_without_the_mask():
    torch.manual_seed(0)
    ours, theirs = same_as_torch()
    query, key = torch.randn(2, 3, 16), torch.randn(2, 5, 16)
    forbidden = torch.zeros(2, 3, 5, dtype=torch.bool)
    forbidden[..., 2:] = True
    output, scores = ours(query, key, key, forbidden, "unmasked")
    torch.testing.assert_close(scores, theirs(query, key, key)[1], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(output, ours(query, key, key, forbidden)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scores", [None, "masked"])
def test_no_keys_leave_the_bias_of_the_output_projection(scores):
    ours, _ = same_as_torch()
    output, _ = ours(torch.randn(2, 3, 16), torch.randn(2, 0, 16), torch.randn(2, 0, 16), scores=scores)
    torch.testing.assert_close(output, ours.out_proj.bias.expand(2, 3, 16))


def level(size, dim=16, stride=32):
    tokens = torch.randn(2, size[0] * size[1], dim)
    return Level(tokens, torch.randn(1, size[0] * size[1], dim), size, stride)


def test_masked_attention_sees_where_the_mask_reaches_the_threshold():
    torch.manual_seed(0)
    features = level((2, 2))
    queries, places = torch.randn(2, 3, 16), torch.randn(1, 3, 16)
    probabilities = torch.full((2, 3, 2, 2), 0.1)
    probabilities[:, 0, 1, 0] = 0.2
    probabilities[:, 2] = 0.9
    policy = MaskedAttentionSpec(threshold=0.15).build(16, 4)
    attended = policy(queries, places, features, Context(probabilities), need_scores=True)
    torch.testing.assert_close(attended.scores[:, 0], torch.tensor([0.0, 0, 1, 0]).expand(2, 4))
    assert (attended.scores[:, 1:] > 0).all()  # an empty mask sees everything, a full one too
    torch.testing.assert_close(attended.scores.sum(-1), torch.ones(2, 3))
    closed = MaskedAttentionSpec(threshold=0.5).build(16, 4)
    closed.load_state_dict(policy.state_dict())
    scores = closed(queries, places, features, Context(probabilities), need_scores=True).scores
    assert (scores[:, 0] > 0).all()
    key = features.tokens + features.positions
    output = policy.attention(queries + places, key, features.tokens, probabilities.flatten(2) < 0)[0]
    torch.testing.assert_close(attended.queries[:, 1:], policy.norm(queries + output)[:, 1:])


def test_a_probability_equal_to_the_threshold_is_seen():
    policy = MaskedAttentionSpec(threshold=0.5).build(16, 4)
    probabilities = torch.tensor([0.5, 0.25, 0.5, 0.4999]).view(1, 1, 2, 2).expand(2, 3, 2, 2)
    queries = torch.randn(2, 3, 16)
    attended = policy(queries, queries, level((2, 2)), Context(probabilities), need_scores=True)
    assert (attended.scores > 0).flatten(0, 1).tolist() == [[True, False, True, False]] * 6


def test_masked_attention_without_masks_is_an_error():
    policy = MaskedAttentionSpec().build(16, 4)
    with pytest.raises(ValueError, match="masks"):
        policy(torch.randn(2, 3, 16), torch.randn(2, 3, 16), level((2, 2)), Context())


def test_cells_expand_to_the_blocks_below_them():
    scores = torch.tensor([[0.1, 0.5, 0.9, 0.3, 0.2, 0.4], [0.9, 0.1, 0.1, 0.1, 0.1, 0.8]])
    chosen = CellSelectionSpec(fraction=3).build()(scores, (2, 3), (4, 6))
    first = {4, 5, 10, 11} | {2, 3, 8, 9}  # cells (0, 2) and (0, 1) of 2 x 2 pixels, 6 pixels a row
    second = {0, 1, 6, 7} | {16, 17, 22, 23}
    assert [set(row.tolist()) for row in chosen] == [first, second]


def test_cells_need_not_be_square():
    chosen = CellSelectionSpec(fraction=6).build()(torch.arange(6.0)[None], (2, 3), (4, 9))
    assert chosen.tolist() == [[24, 25, 26, 33, 34, 35]]  # the last cell: rows 2 and 3, columns 6 to 8


@pytest.mark.parametrize(("cells", "count"), [((7, 7), 64), ((4, 7), 0), ((8, 8), 128), ((8, 10), 128)])
def test_released_selection_keeps_a_thirty_second_of_the_cells(cells, count):
    fine = (cells[0] * 8, cells[1] * 8)
    chosen = CellSelectionSpec().build()(torch.rand(2, cells[0] * cells[1]), cells, fine)
    assert chosen.shape == (2, count)


def test_pixels_are_the_best_of_the_interpolated_scores():
    scores = torch.zeros(1, 4)
    scores[0, 3] = 1.0  # lower right of 2 x 2
    chosen = PixelSelectionSpec(fraction=16).build()(scores, (2, 2), (8, 8))
    assert sorted(chosen[0].tolist()) == [54, 55, 62, 63]
    assert PixelSelectionSpec().build()(torch.rand(1, 4), (2, 2), (16, 16)).shape == (1, 8)


def test_a_level_that_does_not_divide_is_an_error():
    with pytest.raises(ValueError, match="divide"):
        CellSelectionSpec().build()(torch.rand(1, 4), (2, 2), (5, 4))


def test_hrca_attends_to_the_chosen_pixels_only():
    torch.manual_seed(0)
    fine = level((4, 4), stride=4)
    scores = torch.zeros(2, 3, 4)
    scores[0, :, 1] = 1.0
    scores[1, 0, 2], scores[1, 1:, 3] = 0.9, 0.5  # summed over the queries the last one wins
    context = Context(scores={32: scores}, sizes={32: (2, 2), 4: (4, 4)})
    policy = HRCASpec(selection=CellSelectionSpec(fraction=4)).build(16, 4)
    queries, places = torch.randn(2, 3, 16), torch.randn(1, 3, 16)
    attended = policy(queries, places, fine, context, need_scores=True)
    for image, keys in enumerate(([2, 3, 6, 7], [10, 11, 14, 15])):
        tokens, positions = fine.tokens[image : image + 1, keys], fine.positions[:, keys]
        output, weights = policy.attention(
            (queries + places)[image : image + 1], tokens + positions, tokens, scores="masked"
        )
        torch.testing.assert_close(attended.queries[image], policy.norm(queries[image] + output[0]))
        torch.testing.assert_close(attended.scores[image], weights[0])
        torch.testing.assert_close(attended.positions[image], positions[0])


def test_hrca_of_a_small_image_adds_the_bias():
    policy = HRCASpec().build(16, 4)
    with torch.no_grad():
        policy.attention.out_proj.bias.normal_()
    context = Context(scores={32: torch.rand(2, 3, 4)}, sizes={32: (2, 2)})
    queries = torch.randn(2, 3, 16)
    attended = policy(queries, torch.randn(1, 3, 16), level((16, 16), stride=4), context)
    torch.testing.assert_close(attended.queries, policy.norm(queries + policy.attention.out_proj.bias))


def test_deformable_attention_starts_with_the_mean_around_each_pixel():
    """Offsets: 4 heads look right, down, left, up (1 and 2 pixels far), all weights equal."""
    attention = MSDeformAttention(dim=8, levels=1, heads=4, points=2)
    assert attention.sampling_offsets.weight.abs().max() == 0
    steps = attention.sampling_offsets.bias.view(4, 1, 2, 2)[:, 0]
    unit = torch.tensor([[1.0, 0], [0, 1], [-1, 0], [0, -1]])
    torch.testing.assert_close(steps, torch.stack((unit, 2 * unit), dim=1), atol=1e-6, rtol=0)
    with torch.no_grad():
        attention.value_projection.weight.copy_(torch.eye(8))
        attention.output_projection.weight.copy_(torch.eye(8))
    values = torch.arange(25.0).view(1, 25, 1).expand(1, 25, 8)
    pyramid = Pyramid.of([(5, 5)], values)
    torch.testing.assert_close(pyramid.centres[7], torch.tensor([0.5, 0.3]))
    output = attention(torch.randn(1, 25, 8), values, pyramid)
    centre = output[0, 12].view(4, 2)
    expected = torch.tensor([13.5, 19.5, 10.5, 4.5])  # means of the two pixels in each direction of pixel 12
    torch.testing.assert_close(centre, expected[:, None].expand(4, 2), atol=1e-4, rtol=0)
