"""PVTv2: sizes, and both names of its weights."""

import pytest
import torch

from models.backbones import PVTv2Spec

TINY = PVTv2Spec(variant="b0", depths=(1, 1, 1, 1), channels=(4, 8, 10, 16))


@pytest.mark.parametrize(("height", "width"), [(64, 96), (97, 131)])
def test_maps_at_four_strides(height, width):
    backbone = TINY.build().eval()
    maps = backbone(torch.randn(2, 3, height, width))
    assert list(maps) == ["res2", "res3", "res4", "res5"]
    for (name, x), stride in zip(maps.items(), (4, 8, 16, 32), strict=True):
        assert x.shape == (2, backbone.channels[name], -(-height // stride), -(-width // stride))


def test_names_of_the_authors():
    backbone = TINY.build()
    for ours, theirs in {
        "network.patch_embed.proj.weight": "patch_embed1.proj.weight",
        "network.stages.2.downsample.norm.bias": "patch_embed3.norm.bias",
        "network.stages.1.blocks.0.attn.sr.weight": "block2.0.attn.sr.weight",
        "network.stages.3.blocks.0.mlp.dwconv.weight": "block4.0.mlp.dwconv.dwconv.weight",
        "network.stages.0.norm.weight": "norm1.weight",
    }.items():
        assert ours in backbone.state_dict()
        assert backbone.mmdetection_key(ours) == theirs


@pytest.mark.parametrize("names", ["timm", "authors"])
def test_weights_by_either_name(names, tmp_path):
    torch.manual_seed(0)
    source = TINY.build()
    state = {key.removeprefix("network."): tensor for key, tensor in source.state_dict().items()}
    if names == "authors":
        state = {source.mmdetection_key(key): tensor for key, tensor in source.state_dict().items()}
    torch.save({**state, "head.weight": torch.zeros(5, 16)}, tmp_path / "pvt.pth")
    loaded = PVTv2Spec(**{**vars(TINY), "weights": str(tmp_path / "pvt.pth")}).build().state_dict()
    assert all(torch.equal(loaded[key], tensor) for key, tensor in source.state_dict().items())


def test_stochastic_depth_rises_to_its_last_block():
    backbone = PVTv2Spec(variant="b2").build()
    rates = [m.drop_prob for m in backbone.modules() if type(m).__name__ == "DropPath"]
    assert len(rates) == 2 * 15  # the first of 16 blocks has none
    assert rates == sorted(rates)
    assert rates[-1] == pytest.approx(0.1)
