"""Pixel decoders of Mask2Former's Table 4e beside MSDeformAttn: Semantic FPN, FaPN, BiFPN."""

import pytest
import torch
import torch.nn.functional as F

from models import SpecError, build
from models.decoders import TransformerEncoderSpec
from models.pixel_decoders import BiFPNSpec, FaPNSpec, FPNSpec, SemanticFPNSpec
from models.pixel_decoders.bifpn import BiFPNLayer, Fusion
from models.pixel_decoders.fapn import FeatureAlignment, FeatureSelection

CHANNELS = {"res2": 8, "res3": 16, "res4": 24, "res5": 32}
SPECS = {
    "semantic_fpn": SemanticFPNSpec(dim=16, mask_dim=12, norm_groups=4),
    "encoded": SemanticFPNSpec(
        dim=16, mask_dim=12, norm_groups=4, encoder=TransformerEncoderSpec(layers=1, heads=2, ffn_dim=16)
    ),
    "fapn": FaPNSpec(dim=16, mask_dim=12, norm_groups=4, offset_groups=2),
    "bifpn": BiFPNSpec(dim=16, mask_dim=12, norm_groups=4, layers=2, width=8),
    "separable": BiFPNSpec(dim=16, mask_dim=12, norm_groups=4, layers=2, width=8, separable=True),
}


def backbone(height=2, width=3):
    sizes = {name: (height * 2**i, width * 2**i) for i, name in enumerate(reversed(CHANNELS))}
    return {name: torch.randn(2, CHANNELS[name], *sizes[name]) for name in CHANNELS}


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("size", [(2, 3), (5, 1)])
def test_shapes_and_gradients(name, size):
    module = SPECS[name].build(CHANNELS, (32, 16, 8), (32, 16, 8)).eval()
    pixels = module(backbone(*size))
    assert pixels.mask_features.shape == (2, 12, size[0] * 8, size[1] * 8)
    for stride, factor in ((32, 1), (16, 2), (8, 4)):
        assert pixels.features[stride].shape == (2, 16, size[0] * factor, size[1] * factor)
        assert pixels.positions[stride].shape == (1, 16, size[0] * factor, size[1] * factor)
    assert set(pixels.features) == set(pixels.positions) == {32, 16, 8}
    (pixels.mask_features.sum() + sum(f.square().sum() for f in pixels.features.values())).backward()
    assert not [n for n, p in module.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    silent = [n for n, p in module.named_parameters() if not p.grad.any()]
    # FaPN's offsets start at zero weights, so what they are computed from learns after the first step
    assert all(".difference." in n for n in silent)


def test_semantic_fpn_is_the_fpn_with_merged_mask_features():
    spec = SPECS["semantic_fpn"]
    module = spec.build(CHANNELS, (32, 16, 8), ())
    plain = FPNSpec(dim=16, mask_dim=12, norm_groups=4).build(CHANNELS, (32, 16, 8), ())
    own = plain.state_dict()
    plain.load_state_dict({k: v for k, v in module.state_dict().items() if k in own})
    features = backbone()
    ours, theirs = module(features), plain(features)
    for stride in (32, 16, 8):
        torch.testing.assert_close(ours.features[stride], theirs.features[stride])
    levels = plain.pyramid(features).levels
    merged = F.relu(module.merge["4"][0](levels[4]))
    for stride, steps in ((8, 1), (16, 2), (32, 3)):
        x = levels[stride]
        for step in range(steps):
            x = F.interpolate(F.relu(module.merge[str(stride)][step](x)), scale_factor=2, mode="bilinear")
        merged = merged + x
    torch.testing.assert_close(ours.mask_features, module.mask_features(merged), rtol=1e-4, atol=1e-5)


def test_feature_selection_by_hand():
    select = FeatureSelection(8, 16, 4)
    x = torch.randn(2, 8, 3, 5)
    mean = x.flatten(2).mean(2)[:, :, None, None]
    expected = select.select(x * (1 + select.importance(mean).sigmoid()))
    torch.testing.assert_close(select(x), expected)


def test_alignment_starts_as_half_a_convolution():
    align = FeatureAlignment(16, 4, offset_groups=2)
    lateral, above = torch.randn(2, 16, 4, 6), torch.randn(2, 16, 2, 3)
    up = F.interpolate(above, size=(4, 6), mode="bilinear", align_corners=False)
    plain = F.conv2d(up, align.align.weight, padding=1) / 2 + align.align.bias[:, None, None]
    torch.testing.assert_close(align(lateral, above), F.relu(plain) + lateral, rtol=1e-4, atol=1e-5)


def test_alignment_moves_what_the_offsets_say():
    """Offsets of one pixel to the right for every tap: the convolution of a map shifted to the left."""
    align = FeatureAlignment(16, 4, offset_groups=2)
    with torch.no_grad():
        align.offsets.bias[1 : 2 * 9 * 2 : 2] = 1.0  # (y, x) for each tap and group
        align.offsets.bias[2 * 9 * 2 :] = 50.0  # masks of 1
    lateral, above = torch.zeros(1, 16, 4, 6), torch.randn(1, 16, 4, 6)
    shifted = F.pad(above, (0, 1))[..., 1:]
    expected = F.relu(F.conv2d(shifted, align.align.weight, align.align.bias, padding=1))
    inner = (..., slice(None), slice(1, 4))  # where no tap meets the border
    torch.testing.assert_close(align(lateral, above)[inner], expected[inner], rtol=1e-4, atol=1e-4)


def test_fusion_weights_are_positive_and_normalised():
    fusion = Fusion(2, SPECS["bifpn"])
    with torch.no_grad():
        fusion.weights.copy_(torch.tensor([3.0, -1.0]))
    first, second = torch.randn(2, 8, 3, 5), torch.randn(2, 8, 3, 5)
    expected = fusion.convolution(F.silu(first * (3 / 3.0001)))
    torch.testing.assert_close(fusion(first, second), expected)


def test_a_bifpn_layer_passes_each_level_to_every_other():
    layer = BiFPNLayer(SPECS["bifpn"])
    levels = [torch.randn(1, 8, 2 * 2**i, 3 * 2**i) for i in range(4)]
    with torch.no_grad():
        reference = layer(levels)
        assert [x.shape for x in reference] == [x.shape for x in levels]
        for source in range(4):
            changed = [x + (torch.randn_like(x) if i == source else 0) for i, x in enumerate(levels)]
            for target, (a, b) in enumerate(zip(layer(changed), reference, strict=True)):
                assert not torch.allclose(a, b), (source, target)


def test_parameters_with_mask2former():
    """FaPN with Swin-L: the 217 M of Mask2Former's Table V."""
    model = build("mask2former_swin_l_ade20k", device="meta", overrides={"pixel_decoder": "fapn"})
    assert sum(p.numel() for p in model.parameters()) == 217_232_979


@pytest.mark.parametrize("part", ["semantic_fpn", "fapn", "bifpn"])
def test_parts_that_do_not_fit_are_named(part):
    with pytest.raises(SpecError, match="norm_groups"):
        changes = {"pixel_decoder": part, "pixel_decoder.dim": 48, "decoder.dim": 48}
        build("mask2former_r50_ade20k", device="meta", overrides=changes)
    with pytest.raises(SpecError, match="stride"):
        build(
            "mask2former_r50_ade20k",
            device="meta",
            overrides={"pixel_decoder": part, "decoder.schedule": [64, 32]},
        )


@pytest.mark.parametrize("name", ["fapn", "semantic_fpn", "bifpn"])
def test_half_precision_autocast(name):
    module = SPECS[name].build(CHANNELS, (32, 16, 8), ())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        pixels = module(backbone())
    assert pixels.mask_features.isfinite().all()


@pytest.mark.parametrize("part", ["fpn", "semantic_fpn", "fapn", "bifpn"])
def test_images_of_any_size(part):
    """MaskFormer does not pad COCO's images to multiples of 32; 70 x 101 has maps of 18 x 26 to 3 x 4."""
    changes = {"pixel_decoder": part, "memory": ["p8"]}
    model = build("maskformer_r50_coco_panoptic", device="meta", overrides=changes).eval()
    assert model(torch.empty(1, 3, 70, 101, device="meta")).mask_logits.shape[-2:] == (18, 26)


def test_maps_are_brought_to_the_size_of_the_finer_ones():
    sizes = {"res2": (18, 26), "res3": (9, 13), "res4": (5, 7), "res5": (3, 4)}
    maps = {name: torch.randn(1, CHANNELS[name], *size) for name, size in sizes.items()}
    for name in ("semantic_fpn", "bifpn"):
        pixels = SPECS[name].build(CHANNELS, (32, 16, 8), ())(maps)
        assert pixels.mask_features.shape[-2:] == (18, 26)
        assert [pixels.features[s].shape[-2:] for s in (8, 16, 32)] == [(9, 13), (5, 7), (3, 4)]
