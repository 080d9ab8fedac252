"""Backbones: released counts and names, numerics against other implementations, weights files, odd sizes."""

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn

from models.backbones import Backbone, BackboneSpec, ResNetSpec, SwinSpec, TimmSpec
from models.backbones.swin import shift_mask
from models.norm import FrozenBatchNorm2d, norm_layer
from models.official import CheckpointError
from models.spec import SpecError

GOLDEN = Path(__file__).parents[1] / "golden" / "swin_small_odd.npz"
SMALL_SWIN = SwinSpec(width=8, depths=(1, 2, 2, 1), heads=(1, 2, 2, 4), window=5, drop_path=0.0)
SMALL_RESNET = ResNetSpec(layers=(1, 1, 1, 1), block="basic", width=16, norm="group")


def pattern(shape: tuple[int, ...], phase: float = 0.0) -> Tensor:
    """Numbers in -1..1 that look random and follow from their position alone."""
    count = int(np.prod(shape))
    index = torch.arange(count, dtype=torch.float64)
    return (torch.sin(index * index * 0.137 + index * 1.7 + phase)).float().reshape(shape)


def fill(module: nn.Module) -> None:
    """Weights by the rule of `pattern`; BatchNorm statistics too."""
    for i, (name, tensor) in enumerate(module.state_dict().items()):
        if not tensor.is_floating_point():
            continue
        values = pattern(tuple(tensor.shape), phase=i)
        if name.endswith("running_var"):
            values = 1 + 0.5 * values
        elif tensor.ndim > 1:
            values = values / tensor[0].numel() ** 0.5
        elif name.endswith("weight"):
            values = 0.7 + 0.3 * values
        tensor.copy_(values)


def on_meta(spec: BackboneSpec) -> Backbone:
    with torch.device("meta"):
        return spec.build()


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("spec", "parameters", "channels"),
    [
        (ResNetSpec(), 23_454_912, [256, 512, 1024, 2048]),
        (ResNetSpec(norm="batch"), 23_508_032, [256, 512, 1024, 2048]),
        (ResNetSpec(depth=101), 42_394_816, [256, 512, 1024, 2048]),
        (ResNetSpec(depth=101, norm="batch"), 42_500_160, [256, 512, 1024, 2048]),
        (SwinSpec(variant="tiny"), 27_520_698, [96, 192, 384, 768]),
        (SwinSpec(variant="small"), 48_838_602, [96, 192, 384, 768]),
        (SwinSpec(variant="base"), 86_880_376, [128, 256, 512, 1024]),
        (SwinSpec(variant="large"), 195_201_204, [192, 384, 768, 1536]),
    ],
    ids=lambda value: f"{value.part}" if isinstance(value, BackboneSpec) else None,
)
def test_released_counts_on_meta(spec: BackboneSpec, parameters: int, channels: list[int]) -> None:
    """Parameters of the released models' backbones, to the unit; shapes at a size that no window divides."""
    backbone = on_meta(spec).eval()
    assert count(backbone) == parameters
    assert all(p.requires_grad for p in backbone.parameters())
    features = backbone(torch.empty(2, 3, 96, 160, device="meta"))
    assert {k: list(v.shape) for k, v in features.items()} == {
        "res2": [2, channels[0], 24, 40],
        "res3": [2, channels[1], 12, 20],
        "res4": [2, channels[2], 6, 10],
        "res5": [2, channels[3], 3, 5],
    }
    assert list(backbone.channels.values()) == channels


def test_frozen_norm_counts_as_buffers() -> None:
    frozen, trained = on_meta(ResNetSpec()), on_meta(ResNetSpec(norm="batch"))
    assert sum(b.numel() for b in frozen.buffers()) == 106_240
    assert count(trained) - count(frozen) == 53_120
    names = set(frozen.state_dict()) ^ set(trained.state_dict())
    assert len(names) == 53 and all(name.endswith("num_batches_tracked") for name in names)


@pytest.mark.parametrize(
    ("spec", "ours", "released"),
    [
        (ResNetSpec(), "conv1.weight", "stem.conv1.weight"),
        (ResNetSpec(), "bn1.running_mean", "stem.conv1.norm.running_mean"),
        (ResNetSpec(), "layer1.0.downsample.0.weight", "res2.0.shortcut.weight"),
        (ResNetSpec(), "layer1.0.downsample.1.bias", "res2.0.shortcut.norm.bias"),
        (ResNetSpec(), "layer4.2.conv3.weight", "res5.2.conv3.weight"),
        (ResNetSpec(), "layer3.5.bn2.running_var", "res4.5.conv2.norm.running_var"),
        (SwinSpec(), "layers.0.downsample.reduction.weight", "layers.0.downsample.reduction.weight"),
        (SwinSpec(), "norm3.bias", "norm3.bias"),
        (SwinSpec(), "layers.2.blocks.5.attn.qkv.bias", "layers.2.blocks.5.attn.qkv.bias"),
    ],
)
def test_released_names(spec: BackboneSpec, ours: str, released: str) -> None:
    backbone = on_meta(spec)
    assert ours in backbone.state_dict()
    assert backbone.official_key(ours) == released
    assert len({backbone.official_key(name) for name in backbone.state_dict()}) == len(backbone.state_dict())


def test_resnet_equals_torchvision() -> None:
    theirs = torchvision.models.resnet50()
    fill(theirs)
    ours = ResNetSpec().build().eval()
    state = {k: v for k, v in theirs.state_dict().items() if k in ours.state_dict()}
    ours.load_state_dict(state)
    images = pattern((1, 3, 65, 97))
    nodes = {f"layer{i}": f"res{i + 1}" for i in range(1, 5)}
    extract = torchvision.models.feature_extraction.create_feature_extractor(theirs.eval(), nodes)
    with torch.no_grad():
        expected, features = extract(images), ours(images)
    assert list(features) == ["res2", "res3", "res4", "res5"]
    for level, value in features.items():
        scale = expected[level].std()
        assert scale > 1e-3
        assert (value - expected[level]).abs().max() < 1e-4 * scale


def test_frozen_batch_norm() -> None:
    """In training it is arithmetic, in evaluation the operator: the same values, and no statistic moves."""
    frozen, reference = FrozenBatchNorm2d(4), nn.BatchNorm2d(4).eval()
    identity = frozen(pattern((1, 4, 2, 2)))
    assert (identity - pattern((1, 4, 2, 2))).abs().max() < 1e-6
    fill(reference)
    frozen.load_state_dict({k: v for k, v in reference.state_dict().items() if "tracked" not in k})
    x = pattern((3, 4, 5, 6)).requires_grad_()
    before = frozen.running_mean.clone()
    for mode in (True, False):
        assert torch.allclose(frozen.train(mode)(x), reference(x), atol=1e-6)
    assert torch.equal(frozen.running_mean, before)
    assert list(frozen.parameters()) == []
    with pytest.raises(ValueError, match="unknown norm 'layer': one of frozen, eval, batch, group"):
        norm_layer("layer")  # type: ignore[arg-type]


def test_swin_equals_another_implementation() -> None:
    """Hugging Face transformers 5.23, SwinBackbone (which pads before it rolls, too) on the same weights.

    Image 45x70: maps 12x18 to 2x3 under windows of 5, so all but one are padded, and the last is smaller.
    """
    backbone = SMALL_SWIN.build().eval()
    fill(backbone)
    with torch.no_grad():
        features = backbone(pattern((1, 3, 45, 70)))
    golden = np.load(GOLDEN)
    for level, value in features.items():
        assert value.shape == golden[level].shape
        assert golden[level].std() > 0.3
        assert np.abs(value.numpy() - golden[level]).max() < 1e-4


def test_shift_mask_separates_what_was_not_adjacent() -> None:
    """8x8 map, window 4, rolled by 2: the last window holds pieces of four corners, which stay apart."""
    mask = shift_mask(8, 8, 4, 2, torch.device("cpu"))
    assert mask.shape == (4, 16, 16)
    assert mask[0].abs().sum() == 0
    assert mask[1, 0].tolist() == [0.0, 0.0, -100.0, -100.0] * 4
    assert mask[2, 0].tolist() == [0.0] * 8 + [-100.0] * 8
    assert (mask[3, 0] == 0).sum() == 4


def test_stochastic_depth_rises_to_the_released_rate() -> None:
    blocks = [block for stage in on_meta(SwinSpec()).layers for block in stage.blocks]
    rates = [getattr(block.drop_path, "drop_prob", 0.0) for block in blocks]
    assert rates == pytest.approx([0.3 * i / 11 for i in range(12)])


@pytest.mark.parametrize(
    "spec", [SMALL_RESNET, SMALL_SWIN, TimmSpec(name="resnet18"), TimmSpec(name="tf_efficientnet_lite0")]
)
def test_strides_and_gradients(spec: BackboneSpec) -> None:
    backbone = spec.build()
    features = backbone(pattern((2, 3, 64, 96)))
    for stride, (level, value) in zip((4, 8, 16, 32), features.items(), strict=True):
        assert value.shape == (2, backbone.channels[level], 64 // stride, 96 // stride)
    sum(value.square().mean() for value in features.values()).backward()
    for name, parameter in backbone.named_parameters():
        assert parameter.grad is not None, name
        if spec.part != "timm":  # some of timm's start with residual branches at zero
            assert parameter.grad.abs().sum() > 0, name


def test_small_resnet_has_the_stated_size() -> None:
    assert count(on_meta(SMALL_RESNET)) == 309_456
    assert on_meta(SMALL_RESNET).channels == {"res2": 16, "res3": 32, "res4": 64, "res5": 128}


def test_timm_network_is_timms() -> None:
    backbone = TimmSpec(name="tf_efficientnet_lite0").build().eval()
    assert backbone.channels == {"res2": 24, "res3": 40, "res4": 112, "res5": 320}
    whole = timm.create_model("tf_efficientnet_lite0").eval()
    images = pattern((1, 3, 64, 96))
    state = {k.removeprefix("network."): v for k, v in backbone.state_dict().items()}
    whole.load_state_dict(state, strict=False)
    with torch.no_grad():
        expected = whole.forward_intermediates(images, indices=[1, 2, 3, 4], intermediates_only=True)
        for value, other in zip(backbone(images).values(), expected, strict=True):
            assert torch.allclose(value, other, atol=1e-5)


def test_input_normalisation_is_converted() -> None:
    """Pixels 0..255 normalised for Mask2Former reach the network as (x - 127) / 128."""
    spec = TimmSpec(name="resnet18", input_mean=(127.0,) * 3, input_std=(128.0,) * 3)
    backbone = spec.build().eval()
    plain = TimmSpec(name="resnet18").build().eval()
    plain.load_state_dict(backbone.state_dict())
    pixels = 127.5 + 127.5 * pattern((1, 3, 32, 64))
    mean = torch.tensor([123.675, 116.28, 103.53]).view(3, 1, 1)
    std = torch.tensor([58.395, 57.12, 57.375]).view(3, 1, 1)
    with torch.no_grad():
        ours = backbone((pixels - mean) / std)["res5"]
        expected = plain((pixels - 127) / 128)["res5"]
    assert torch.allclose(ours, expected, atol=1e-4)
    with pytest.raises(SpecError, match="set both or neither"):
        TimmSpec(input_mean=(1.0, 1.0, 1.0)).build()


def test_timm_frozen_norm() -> None:
    frozen = on_meta(TimmSpec(name="resnet18", norm="frozen"))
    assert count(on_meta(TimmSpec(name="resnet18"))) - count(frozen) == 9_600


def test_a_frozen_timm_network_learns_nothing() -> None:
    backbone = TimmSpec(name="resnet18", norm="frozen", frozen=True).build().train()
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    features = backbone(pattern((1, 3, 64, 64)))
    assert not any(value.requires_grad for value in (*features.values(), *backbone.parameters()))
    assert all(torch.equal(tensor, before[name]) for name, tensor in backbone.state_dict().items())
    with pytest.raises(SpecError, match='set norm = "frozen", too'):
        TimmSpec(name="resnet18", frozen=True).build()


def test_unusable_specs_are_named() -> None:
    with pytest.raises(SpecError, match="no ResNet-34: set depth to 50 or 101"):
        ResNetSpec(depth=34).build()
    with pytest.raises(SpecError, match="has no network 'resnet_17'"):
        TimmSpec(name="resnet_17").build()
    with pytest.raises(SpecError, match="vit_tiny_patch16_224 has no feature map of stride 4"):
        TimmSpec(name="vit_tiny_patch16_224").build()


def test_resnet_weights_file(tmp_path: Path) -> None:
    theirs = timm.models.resnet.ResNet(timm.models.resnet.Bottleneck, (1, 1, 1, 1), num_classes=3)
    fill(theirs)
    path = tmp_path / "r14.pth"
    torch.save(theirs.state_dict(), path)
    spec = ResNetSpec(layers=(1, 1, 1, 1), weights=str(path))
    ours = spec.build()
    assert torch.equal(ours.layer3[0].bn2.running_var, theirs.state_dict()["layer3.0.bn2.running_var"])
    assert torch.equal(ours.conv1.weight, theirs.state_dict()["conv1.weight"])
    assert on_meta(ResNetSpec(weights=str(tmp_path / "absent.pth"))).conv1.weight.is_meta

    state = theirs.state_dict()
    del state["layer1.0.conv1.weight"]
    state["layer9.weight"] = torch.zeros(1)
    state["bn1.weight"][2] = float("nan")
    torch.save(state, path)
    message = (
        "r14.pth does not fit ResNet: 1 missing: layer1.0.conv1.weight; 1 left over: layer9.weight; "
        "1 with NaN or infinity: bn1.weight"
    )
    with pytest.raises(CheckpointError, match=message):
        spec.build()


def test_swin_weights_file(tmp_path: Path) -> None:
    """timm's layout: patch merging at the start of a stage; its classifier and its one norm are not used."""
    shape = {"embed_dim": 8, "depths": (1, 2, 2, 1), "num_heads": (1, 2, 2, 4), "window_size": 4}
    theirs = timm.models.SwinTransformer(img_size=128, num_classes=3, **shape).eval()
    fill(theirs)
    save_file(theirs.state_dict(), tmp_path / "swin.safetensors")
    spec = SMALL_SWIN.override({"window": 4, "weights": str(tmp_path / "swin.safetensors")})
    ours = spec.build().eval()
    merging = theirs.state_dict()["layers.2.downsample.reduction.weight"]
    assert torch.equal(ours.layers[1].downsample.reduction.weight, merging)
    images = pattern((1, 3, 128, 128))  # nothing is padded, no map is smaller than a window: equal to timm
    with torch.no_grad():
        expected = theirs.forward_intermediates(images, intermediates_only=True)
        features = ours(images).values()
    for value, other in zip(features, expected, strict=True):
        norm = nn.functional.layer_norm(other.permute(0, 2, 3, 1), other.shape[1:2])
        assert (value - norm.permute(0, 3, 1, 2)).abs().max() < 1e-4

    message = r"of another shape: layers.0.blocks.0.attn.relative_position_bias_table \[49, 1\] for \[169, "
    with pytest.raises(CheckpointError, match=message):
        spec.override({"window": 7}).build()


def test_swin_weights_file_of_its_authors(tmp_path: Path) -> None:
    """Their layout: patch merging at the end of a stage, as in the released checkpoints, and constants."""
    ours = SMALL_SWIN.build()
    fill(ours)
    content = {key: value for key, value in ours.state_dict().items() if not key.startswith("norm")}
    content |= {"norm.weight": torch.ones(64), "head.weight": torch.ones(3, 64), "head.bias": torch.ones(3)}
    content["layers.1.blocks.1.attn_mask"] = torch.zeros(4, 9, 9)
    content["layers.0.blocks.0.attn.relative_position_index"] = torch.zeros(9, 9, dtype=torch.int64)
    torch.save({"model": content}, tmp_path / "swin.pth")
    loaded = SMALL_SWIN.override({"weights": str(tmp_path / "swin.pth")}).build().state_dict()
    for key, value in content.items():
        if key in loaded:
            assert torch.equal(loaded[key], value), key
    assert {key for key in content if key in loaded} == {k for k in loaded if not k.startswith("norm")}


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "convnext_atto"])
def test_timm_weights_file(name: str, tmp_path: Path) -> None:
    theirs = timm.create_model(name, num_classes=5)
    fill(theirs)
    torch.save({"state_dict": theirs.state_dict()}, tmp_path / "w.pth")
    spec = TimmSpec(name=name, weights=str(tmp_path / "w.pth"))
    ours = spec.build()
    expected = theirs.state_dict()
    for key, value in ours.network.state_dict().items():
        assert torch.equal(value, expected[key.replace("stem_", "stem.").replace("stages_", "stages.")]), key
    with pytest.raises(CheckpointError, match="w.pth is not of resnet18"):
        spec.override({"name": "resnet18"}).build()


def test_weights_paired_in_order(tmp_path: Path) -> None:
    theirs = timm.create_model("tf_efficientnet_lite0")
    fill(theirs)
    renamed = {f"tensor{i}": value for i, value in enumerate(theirs.state_dict().values())}
    torch.save(renamed, tmp_path / "other_names.pth")
    spec = TimmSpec(
        name="tf_efficientnet_lite0", weights=str(tmp_path / "other_names.pth"), pairing="order"
    )
    ours = spec.build()
    expected = theirs.state_dict()["blocks.6.0.conv_pwl.weight"]
    assert torch.equal(ours.network.state_dict()["blocks.6.0.conv_pwl.weight"], expected)
    with pytest.raises(CheckpointError, match="296 tensors do not pair in order with the 122 of resnet18"):
        spec.override({"name": "resnet18"}).build()
