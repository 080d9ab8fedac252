"""Mask2Former against `transformers` with the same random weights, both directions, through its files."""

import pytest
import torch

from models import CheckpointError, build, load_official, to_official

transformers = pytest.importorskip("transformers")

SIZES = {"backbone.drop_path": 0.0, "num_classes": 7, "decoder.num_queries": 9}


@pytest.fixture(scope="module")
def theirs():
    """A Swin-T Mask2Former of theirs with weights that matter: 0.05 times normal, norms near one."""
    torch.manual_seed(0)
    swin = transformers.SwinConfig(
        embed_dim=96, depths=[2, 2, 6, 2], num_heads=[3, 6, 12, 24], window_size=7, drop_path_rate=0.0,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = transformers.Mask2FormerConfig(backbone_config=swin, num_labels=7, num_queries=9)
    model = transformers.Mask2FormerForUniversalSegmentation(config).eval()
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if tensor.ndim > 1:
                tensor.normal_(std=0.05)
            elif name.endswith("weight"):
                tensor.copy_(1 + 0.1 * torch.randn_like(tensor))
            else:
                tensor.normal_(std=0.1)
    return model


@pytest.fixture
def ours():
    torch.manual_seed(1)
    return build("mask2former_swin_t_ade20k", overrides=SIZES).eval()


def assert_same(ours, theirs):
    images = torch.randn(2, 3, 96, 128, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        mine, other = ours(images), theirs(images, output_auxiliary_logits=True)
    assert other.class_queries_logits.std() > 0.1 and other.masks_queries_logits.std() > 0.1
    torch.testing.assert_close(mine.class_logits, other.class_queries_logits, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(mine.mask_logits, other.masks_queries_logits, atol=1e-4, rtol=1e-4)
    for aux, expected in zip(mine.auxiliary, other.auxiliary_logits, strict=True):
        torch.testing.assert_close(aux.class_logits, expected["class_queries_logits"], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(aux.mask_logits, expected["masks_queries_logits"], atol=1e-4, rtol=1e-4)


def test_loads_their_state_dict(ours, theirs):
    report = load_official(ours, theirs.state_dict())
    assert report.matched == len(ours.state_dict())
    assert set(report.ignored) >= {"criterion.empty_weight"}
    assert_same(ours, theirs)


def test_loads_their_files(ours, theirs, tmp_path):
    theirs.save_pretrained(tmp_path)
    load_official(ours, tmp_path / "model.safetensors")
    assert_same(ours, theirs)


def test_they_load_ours(ours, theirs, tmp_path):
    from safetensors.torch import save_file

    theirs.config.save_pretrained(tmp_path)
    state = to_official(ours, "huggingface")
    save_file({key: value.contiguous() for key, value in state.items()}, tmp_path / "model.safetensors",
              metadata={"format": "pt"})  # fmt: skip
    loaded, info = type(theirs).from_pretrained(tmp_path, output_loading_info=True)
    unused = {"criterion.empty_weight", "layernorm.weight", "layernorm.bias", "relative_position_index"}
    assert not info["unexpected_keys"]
    assert all(any(key.endswith(name) for name in unused) for key in info["missing_keys"])
    assert_same(ours, loaded.eval())


def test_names_what_is_missing(ours, theirs):
    state = dict(theirs.state_dict())
    del state["model.transformer_module.decoder.layers.0.self_attn.k_proj.weight"]
    with pytest.raises(CheckpointError, match=r"self_attn\.qkv_proj\.weight"):
        load_official(ours, state)
