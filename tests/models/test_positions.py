"""Positional encodings of image features."""

import math

import pytest
import torch
from torch import nn

from models.positions import ConditionalSpec, LearnableSpec, SinusoidalSpec


def test_sinusoids_follow_the_formula():
    encoding = SinusoidalSpec().build(256, (32,))(torch.empty(2, 256, 3, 5), 32)
    assert encoding.shape == (1, 256, 3, 5)
    for channel, row, column in [(0, 0, 0), (1, 2, 4), (2, 1, 3), (127, 2, 0), (128, 0, 1), (201, 1, 4)]:
        place, size = (row, 3) if channel < 128 else (column, 5)
        index = channel % 128
        angle = 2 * math.pi * (place + 1) / (size + 1e-6) / 10000 ** (2 * (index // 2) / 128)
        expected = math.sin(angle) if index % 2 == 0 else math.cos(angle)
        assert encoding[0, channel, row, column].item() == pytest.approx(expected, abs=2e-6)


def test_sinusoids_have_no_parameters_and_ignore_values():
    positions = SinusoidalSpec().build(64, (32,))
    assert not list(positions.parameters())
    assert torch.equal(positions(torch.zeros(1, 64, 2, 2), 32), positions(torch.ones(1, 64, 2, 2), 32))


def test_learned_rows_and_columns():
    positions = LearnableSpec(image_size=128).build(8, (32, 16))
    assert sum(p.numel() for p in positions.parameters()) == 8 * 4 + 8 * 8
    encoding = positions(torch.empty(2, 8, 4, 4), 32)[0]
    assert torch.equal(encoding[:4, 2, 0], positions.rows["32"][:, 2])
    assert torch.equal(encoding[4:, 3, 1], positions.columns["32"][:, 1])
    wide = positions(torch.empty(2, 8, 4, 8), 32)[0]  # twice as wide as in training: interpolated
    torch.testing.assert_close(
        wide[4:, 0, 1], 0.75 * positions.columns["32"][:, 0] + 0.25 * positions.columns["32"][:, 1]
    )


def test_conditional_encoding_is_the_convolution_alone():
    positions = ConditionalSpec().build(4, (32, 16))
    weight = nn.Parameter(torch.zeros(4, 1, 3, 3))
    weight.data[:, 0, 1, 1] = torch.tensor([1.0, 2.0, 3.0, 4.0])
    positions.convolutions["16"].weight = weight
    nn.init.constant_(positions.convolutions["16"].bias, 0.5)
    feature = torch.randn(2, 4, 3, 5)
    expected = feature * torch.tensor([1.0, 2, 3, 4]).view(4, 1, 1) + 0.5  # no residual: not feature + this
    torch.testing.assert_close(positions(feature, 16), expected)
    assert sum(p.numel() for p in positions.parameters()) == 2 * (4 * 9 + 4)
