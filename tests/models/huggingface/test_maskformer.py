"""MaskFormer against `transformers` with the same random weights, both directions, through its files."""

import pytest
import torch
from safetensors.torch import save_file

from models import CheckpointError, build, load_official, to_official

transformers = pytest.importorskip("transformers")

SMALL = {"num_classes": 7, "decoder.num_queries": 9, "decoder.layers": 3}
OURS = {
    "swin": ("maskformer_swin_t_ade20k", {"backbone.depths": [2, 1, 2, 1], "backbone.drop_path": 0.0}),
    "resnet": ("maskformer_r50_ade20k", {"backbone.layers": [1, 2, 1, 1]}),
}
STAGES = ["stage1", "stage2", "stage3", "stage4"]


def backbone(kind):
    if kind == "resnet":
        return transformers.ResNetConfig(depths=[1, 2, 1, 1], out_features=STAGES)
    return transformers.SwinConfig(
        embed_dim=96, depths=[2, 1, 2, 1], num_heads=[3, 6, 12, 24], window_size=7, drop_path_rate=0.0,
        out_features=STAGES,
    )  # fmt: skip


@pytest.fixture(scope="module", params=OURS)
def pair(request):
    """Ours, and theirs with weights that matter: a tenth of normal, norms near one."""
    torch.manual_seed(0)
    decoder = transformers.DetrConfig(num_queries=9, decoder_layers=3)
    config = transformers.MaskFormerConfig(
        backbone_config=backbone(request.param), decoder_config=decoder, num_labels=7
    )
    theirs = transformers.MaskFormerForInstanceSegmentation(config).eval()
    with torch.no_grad():
        for name, tensor in (*theirs.named_parameters(), *theirs.named_buffers()):
            if not tensor.is_floating_point() or name.startswith("criterion"):
                continue
            if tensor.ndim > 1:
                tensor.normal_(std=tensor[0].numel() ** -0.5)
            elif name.endswith(("weight", "running_var")):
                tensor.copy_(1 + 0.1 * torch.rand_like(tensor))
            else:
                tensor.normal_(std=0.1)
    name, changes = OURS[request.param]
    return build(name, overrides={**SMALL, **changes}).eval(), theirs


def assert_same(ours, theirs):
    for size in ((96, 128), (90, 75)):
        images = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(2))
        with torch.no_grad():
            mine, other = ours(images), theirs(images)
        assert other.class_queries_logits.std() > 0.1 and other.masks_queries_logits.std() > 0.1
        torch.testing.assert_close(mine.class_logits, other.class_queries_logits, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(mine.mask_logits, other.masks_queries_logits, atol=1e-4, rtol=1e-4)


def test_loads_their_state_dict_and_files(pair, tmp_path):
    ours, theirs = pair
    report = load_official(ours, theirs.state_dict())
    assert report.matched == len(ours.state_dict())
    assert "criterion.empty_weight" in report.ignored
    assert_same(ours, theirs)
    loaded = {key: value.clone() for key, value in ours.state_dict().items()}
    theirs.save_pretrained(tmp_path)
    ours.load_state_dict({key: torch.zeros_like(value) for key, value in loaded.items()})
    load_official(ours, tmp_path / "model.safetensors")
    assert all(torch.equal(value, loaded[key]) for key, value in ours.state_dict().items())


def test_they_load_ours(pair, tmp_path):
    ours, theirs = pair
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.mul_(1.01)
    theirs.config.save_pretrained(tmp_path)
    state = {key: value.contiguous() for key, value in to_official(ours, "huggingface").items()}
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    loaded, info = type(theirs).from_pretrained(tmp_path, output_loading_info=True)
    unused = ("criterion.empty_weight", "model.layernorm.weight", "model.layernorm.bias",
              "relative_position_index", "num_batches_tracked")  # fmt: skip
    assert not info["unexpected_keys"]
    assert all(key.endswith(unused) for key in info["missing_keys"])
    assert_same(ours, loaded.eval())


def test_what_does_not_fit_is_named(pair):
    ours, theirs = pair
    state = dict(theirs.state_dict())
    del state["model.transformer_module.decoder.layers.0.encoder_attn.k_proj.weight"]
    with pytest.raises(CheckpointError, match=r"encoder_attn\.qkv_proj\.weight"):
        load_official(ours, state)
    with pytest.raises(CheckpointError, match="has no name in the layout 'huggingface'"):
        to_official(build("maskformer_r50_coco_panoptic", device="meta"), "huggingface")
