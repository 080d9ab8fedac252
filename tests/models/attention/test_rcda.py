"""Row-column decoupled attention against explicit loops over rows, columns and heads."""

import pytest
import torch

from models.attention import Context, Level, RCDASpec, RowColumnAttention, join

DIM, HEADS = 8, 2


def loops(attention, query, key, value):
    """Output before the last projection, A_x and A_y of one query of one image; key and value [H, W, C]."""
    height, width, depth = key.shape[0], key.shape[1], DIM // HEADS
    output, weights = torch.zeros(DIM), []
    for head in range(HEADS):
        part = slice(head * depth, (head + 1) * depth)
        logits_x = torch.stack(
            [
                attention.query_x(query)[part] @ attention.key_x(key[:, x].mean(0))[part] / depth**0.5
                for x in range(width)
            ]
        )
        logits_y = torch.stack(
            [
                attention.query_y(query)[part] @ attention.key_y(key[y].mean(0))[part] / depth**0.5
                for y in range(height)
            ]
        )
        a_x, a_y = logits_x.softmax(0), logits_y.softmax(0)
        for y in range(height):
            for x in range(width):
                if attention.values == "map":
                    output[part] += a_y[y] * a_x[x] * attention.value(value[y, x])[part]
        if attention.values == "pooled":
            for x in range(width):
                output[part] += a_x[x] * attention.value(value[:, x].mean(0))[part]
            for y in range(height):
                output[part] += a_y[y] * attention.value(value[y].mean(0))[part]
        weights.append((a_x, a_y))
    return output, weights


@pytest.mark.parametrize("values", ["map", "pooled"])
def test_decoupled_attention_equals_loops(values):
    torch.manual_seed(0)
    attention = RowColumnAttention(DIM, HEADS, values=values)
    for parameter in attention.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    query, key, value = torch.randn(2, 3, DIM), torch.randn(2, 3, 5, DIM), torch.randn(2, 3, 5, DIM)
    with torch.no_grad():
        output, across, down = attention(query, key, value)
        for image in range(2):
            for q in range(3):
                expected, weights = loops(attention, query[image, q], key[image], value[image])
                torch.testing.assert_close(
                    output[image, q], attention.out_proj(expected), rtol=1e-4, atol=1e-5
                )
                for head, (a_x, a_y) in enumerate(weights):
                    torch.testing.assert_close(across[image, head, q], a_x)
                    torch.testing.assert_close(down[image, head, q], a_y)


def test_the_policy_adds_positions_to_keys_only_and_gives_scores_of_pixels():
    torch.manual_seed(0)
    policy = RCDASpec().build(DIM, HEADS)
    level = Level(torch.randn(2, 15, DIM), torch.randn(1, 15, DIM), (3, 5), 4)
    x, places = torch.randn(2, 3, DIM), torch.randn(1, 3, DIM)
    attended = policy(x, places, level, Context(), need_scores=True)
    key = (level.tokens + level.positions).view(2, 3, 5, DIM)
    output, across, down = policy.attention(x + places, key, level.tokens.view(2, 3, 5, DIM))
    torch.testing.assert_close(attended.queries, policy.norm(x + output))
    assert attended.scores.shape == (2, 3, 15)
    torch.testing.assert_close(attended.scores.sum(-1), torch.ones(2, 3))
    pixel = (down[0, :, 1, 2] * across[0, :, 1, 4]).mean()  # query 1, row 2, column 4
    torch.testing.assert_close(attended.scores[0, 1, 14], pixel)
    with pytest.raises(ValueError, match="several joined"):
        policy(x, places, join([level, level]), Context())
