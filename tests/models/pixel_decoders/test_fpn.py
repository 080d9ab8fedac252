"""MaskFormer's feature pyramid."""

import pytest
import torch
import torch.nn.functional as F

from models import SpecError
from models.decoders import TransformerEncoderSpec
from models.pixel_decoders import FPNSpec

CHANNELS = {"res2": 8, "res3": 12, "res4": 16, "res5": 20}
SIZES = {"res2": (23, 19), "res3": (12, 10), "res4": (6, 5), "res5": (3, 3)}


def features():
    return {name: torch.randn(2, CHANNELS[name], *SIZES[name]) for name in CHANNELS}


def test_levels_by_hand():
    torch.manual_seed(0)
    decoder = FPNSpec(dim=32, mask_dim=6, norm_groups=4).build(CHANNELS, (32, 16, 8, 4), (16,))
    backbone = features()
    output = decoder(backbone)
    level = decoder.output["32"](backbone["res5"])
    expected = {32: level}
    for stride, name in ((16, "res4"), (8, "res3"), (4, "res2")):
        above = F.interpolate(level, size=SIZES[name], mode="nearest")
        level = expected[stride] = decoder.output[str(stride)](
            decoder.lateral[str(stride)](backbone[name]) + above
        )
    assert output.features.keys() == expected.keys()
    assert all(torch.equal(output.features[stride], expected[stride]) for stride in expected)
    assert torch.equal(output.mask_features, decoder.mask_features(level))
    assert output.mask_features.shape == (2, 6, 23, 19)
    assert {stride: maps.shape for stride, maps in output.positions.items()} == {16: (1, 32, 6, 5)}
    assert output.encoded is None
    kinds = [type(module).__name__ for module in decoder.output["8"]]
    assert kinds == ["Conv2d", "GroupNorm", "ReLU"] and len(decoder.lateral["8"]) == 2


def test_an_encoder_stands_below_the_pyramid():
    torch.manual_seed(0)
    encoder = TransformerEncoderSpec(layers=1, heads=4, ffn_dim=16, dropout=0.0)
    decoder = FPNSpec(dim=32, encoder=encoder).build(CHANNELS, (), ())
    output = decoder(features())
    assert output.encoded.shape == (2, 32, 3, 3) and output.features == {}
    assert decoder.output["32"][0].weight.shape == (32, 32, 3, 3)
    assert decoder.encoder.project.weight.shape == (32, 20, 1, 1)
    backbone = features()
    swapped = backbone["res5"].flip(-1)
    one, other = (decoder(backbone | {"res5": maps}).encoded for maps in (backbone["res5"], swapped))
    assert (one - other.flip(-1)).abs().max() > 1e-3  # positions tell the pixels apart


def test_convolutions_start_uniform():
    decoder = FPNSpec().build({"res2": 256, "res3": 512, "res4": 1024, "res5": 2048}, (), ())
    for layer, fan_in in ((decoder.output["32"][0], 9 * 2048), (decoder.lateral["8"][0], 512)):
        assert layer.weight.abs().max().item() == pytest.approx((3 / fan_in) ** 0.5, rel=1e-3)
        assert layer.bias is None
    assert not decoder.mask_features.bias.any()


def test_strides_and_groups_that_do_not_fit_are_named():
    with pytest.raises(SpecError, match=r"no features at stride \[64\]"):
        FPNSpec().build(CHANNELS, (64,), ())
    with pytest.raises(SpecError, match="dim 40 is not a multiple of norm_groups 32"):
        FPNSpec(dim=40).build(CHANNELS, (), ())
