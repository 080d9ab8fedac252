"""The cross-attention policies of the ablations, each against what it must equal."""

import pytest
import torch

from models.attention import (
    Context,
    HRCASpec,
    Level,
    MaskedAttentionSpec,
    MaskPoolingSpec,
    PlainAttentionSpec,
    RandomSelectionSpec,
    SMCASpec,
    join,
)

DIM, HEADS = 16, 4


def level(size=(3, 5), stride=32, batch=2):
    pixels = size[0] * size[1]
    return Level(torch.randn(batch, pixels, DIM), torch.randn(1, pixels, DIM), size, stride)


def queries():
    return torch.randn(2, 3, DIM), torch.randn(1, 3, DIM)


def with_same_attention(policy, other):
    other.attention.load_state_dict(policy.attention.state_dict())
    return other


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def test_plain_attention_is_masked_attention_without_a_mask():
    plain = PlainAttentionSpec().build(DIM, HEADS)
    masked = with_same_attention(plain, MaskedAttentionSpec(threshold=0.0).build(DIM, HEADS))
    features, (x, places) = level(), queries()
    context = Context(torch.rand(2, 3, 3, 5))
    ours = plain(x, places, features, Context(), need_scores=True)
    expected = masked(x, places, features, context, need_scores=True)
    torch.testing.assert_close(ours.queries, expected.queries)
    torch.testing.assert_close(ours.scores, expected.scores)
    assert not plain.uses_mask and masked.uses_mask
    assert plain(x, places, features, Context()).scores is None


@pytest.mark.parametrize("flat", ["infinite spread", "zero scale"])
def test_smca_with_a_flat_gaussian_is_plain_attention(flat):
    smca = SMCASpec(spread=float("inf") if flat == "infinite spread" else 8.0).build(DIM, HEADS)
    if flat == "zero scale":
        torch.nn.init.zeros_(smca.scale.bias)
    plain = with_same_attention(smca, PlainAttentionSpec().build(DIM, HEADS))
    features, (x, places) = level(), queries()
    for scores in (False, True):
        ours, expected = (p(x, places, features, Context(), scores) for p in (smca, plain))
        torch.testing.assert_close(ours.queries, expected.queries)
    torch.testing.assert_close(ours.scores, expected.scores)


def test_the_gaussian_of_smca_by_hand():
    """One centre a query, a shift for each head, distances in steps of 32 pixels at every stride."""
    smca = SMCASpec(spread=2.0).build(DIM, HEADS)
    with torch.no_grad():
        smca.centre.layers[-1].weight.zero_(), smca.centre.layers[-1].bias.copy_(torch.tensor([0.0, -50.0]))
        smca.shift.weight.zero_(), smca.shift.bias.zero_()
        smca.shift.bias[2] = 1.0  # head 1, x
        smca.scale.bias[4], smca.scale.bias[5] = 2.0, 3.0  # head 2, x and y
    features = level((4, 6), stride=16)  # 3 steps wide, 2 high: centre at x = 1.5, y = 0
    gaussian = smca.log_gaussian(torch.randn(2, 3, DIM), features)
    assert gaussian.shape == (2, HEADS, 3, 24)
    for row in range(4):
        for column in range(6):
            x, y = (column + 0.5) / 2, (row + 0.5) / 2
            for head, (centre, scale_x, scale_y) in enumerate([(1.5, 1, 1), (2.5, 1, 1), (1.5, 2, 3)]):
                expected = -((scale_x * (x - centre)) ** 2 + (scale_y * y) ** 2) / 2.0
                value = gaussian[:, head, :, row * 6 + column]
                torch.testing.assert_close(value, torch.full_like(value, expected), rtol=1e-5, atol=1e-6)


def test_a_narrow_gaussian_looks_at_its_centre():
    smca = SMCASpec(spread=1e-3).build(DIM, HEADS)
    with torch.no_grad():
        smca.centre.layers[-1].weight.zero_()
        smca.centre.layers[-1].bias.zero_()  # the middle of the image
        smca.shift.weight.zero_(), smca.shift.bias.zero_()
    features, (x, places) = level((3, 5)), queries()
    scores = smca(x, places, features, Context(), need_scores=True).scores
    expected = torch.zeros(15)
    expected[7] = 1.0
    torch.testing.assert_close(scores, expected.expand(2, 3, 15))


def test_mask_pooling_by_hand():
    policy = MaskPoolingSpec().build(DIM, HEADS)
    features, (x, places) = level((2, 2)), queries()
    probabilities = torch.full((2, 3, 2, 2), 0.2)
    probabilities[:, 0, 0, 1] = probabilities[:, 0, 1, 1] = 0.5
    probabilities[:, 1] = 0.9
    attended = policy(x, places, features, Context(probabilities), need_scores=True)
    regions = [[1, 3], [0, 1, 2, 3], [0, 1, 2, 3]]  # the last mask is empty
    for query, region in enumerate(regions):
        mean = features.tokens[:, region].mean(1)
        expected = policy.norm(x[:, query] + policy.attention(mean))
        torch.testing.assert_close(attended.queries[:, query], expected)
        weights = torch.zeros(2, 4)
        weights[:, region] = 1 / len(region)
        torch.testing.assert_close(attended.scores[:, query], weights)
    with pytest.raises(ValueError, match="masks"):
        policy(x, places, features, Context())


def hrca(fraction):
    return HRCASpec(selection=RandomSelectionSpec(fraction=fraction)).build(DIM, HEADS)


def test_random_pixels_are_as_many_as_asked_and_distinct():
    chosen = RandomSelectionSpec(fraction=4).build()(torch.rand(3, 4), (2, 2), (8, 8))
    assert chosen.shape == (3, 16)
    assert all(len(set(row.tolist())) == 16 for row in chosen)
    assert int(chosen.min()) >= 0 and int(chosen.max()) < 64
    assert not torch.equal(chosen[0].sort().values, chosen[1].sort().values)


def test_random_omega_with_all_pixels_is_plain_attention():
    random = hrca(fraction=1)
    plain = with_same_attention(random, PlainAttentionSpec().build(DIM, HEADS))
    features, (x, places) = level((4, 8), stride=4), queries()
    context = Context(scores={32: torch.rand(2, 3, 2)}, sizes={32: (1, 2)})
    ours = random(x, places, features, context)
    torch.testing.assert_close(ours.queries, plain(x, places, features, context).queries)


def test_joined_levels_are_attended_like_one():
    coarse, fine = level((2, 3), 32), level((4, 6), 16)
    both = join([coarse, fine])
    assert both.size == (1, 30)
    assert both.extent() == coarse.extent() == (96, 64)
    torch.testing.assert_close(both.centres()[:6], coarse.centres())
    torch.testing.assert_close(both.centres()[6], torch.tensor([8.0, 8.0]))
    x, places = queries()
    plain = PlainAttentionSpec().build(DIM, HEADS)
    tokens = torch.cat((coarse.tokens, fine.tokens), dim=1)
    positions = torch.cat((coarse.positions, fine.positions), dim=1)
    output, scores = plain.attention(x + places, tokens + positions, tokens, scores="masked")
    ours = plain(x, places, both, Context(), need_scores=True)
    torch.testing.assert_close(ours.queries, plain.norm(x + output))
    torch.testing.assert_close(ours.scores, scores)


@pytest.mark.parametrize(
    "spec", [MaskedAttentionSpec(), PlainAttentionSpec(), SMCASpec(), MaskPoolingSpec(), HRCASpec()]
)
def test_dropout_is_in_training_only(spec):
    policy = spec.build(DIM, HEADS, dropout=0.5)
    features, (x, places) = level((8, 8)), queries()
    context = Context(torch.rand(2, 3, 8, 8), {32: torch.rand(2, 3, 64)}, {32: (8, 8)})
    exact = policy.eval()(x, places, features, context).queries
    assert torch.equal(policy(x, places, features, context).queries, exact)
    assert not torch.allclose(policy.train()(x, places, features, context).queries, exact)
