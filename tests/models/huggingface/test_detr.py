"""DETR against `transformers` with the same random weights, both directions, through its files."""

import pytest
import torch

from models import build, load_official, to_official

transformers = pytest.importorskip("transformers")

SIZES = {
    "encoder.layers": 2, "decoder.layers": 2, "decoder.num_queries": 7, "num_classes": 5, "columns": 5,
    "class_ids": None, "encoder.ffn_dim": 64, "decoder.ffn_dim": 64,
}  # fmt: skip


def randomize(model):
    """Weights that matter: small noise, norms near one."""
    torch.manual_seed(0)
    with torch.no_grad():
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            if name.endswith("running_var") or (tensor.ndim == 1 and name.endswith("weight")):
                tensor.copy_(1 + 0.1 * torch.rand_like(tensor))
            elif tensor.ndim == 1:
                tensor.normal_(std=0.1)
            elif tensor.ndim == 4:
                tensor.normal_(std=(2 / tensor[0].numel()) ** 0.5)
            elif tensor.is_floating_point():
                tensor.normal_(std=1.0 if "quer" in name and "position" in name else 0.1)
    return model.eval()


@pytest.fixture(scope="module", params=["DetrForSegmentation", "DetrForObjectDetection"])
def theirs(request):
    # Not with `auxiliary_loss`: their decoder then hands normalised states from layer to layer.
    config = transformers.DetrConfig(
        num_labels=5, num_queries=7, encoder_layers=2, decoder_layers=2, encoder_ffn_dim=64,
        decoder_ffn_dim=64,
    )  # fmt: skip
    return randomize(getattr(transformers, request.param)(config))


@pytest.fixture
def ours(theirs):
    torch.manual_seed(1)
    boxes_only = {} if hasattr(theirs, "mask_head") else {"mask_head": None}
    return build("detr_r50_coco_panoptic", overrides=SIZES | boxes_only).eval()


def assert_same(ours, theirs):
    """On a padded batch of odd sizes."""
    sizes = [(95, 130), (101, 90)]
    images = torch.randn(2, 3, 101, 130, generator=torch.Generator().manual_seed(2))
    mask = torch.zeros(2, 101, 130, dtype=torch.long)
    for image, (height, width) in enumerate(sizes):
        mask[image, :height, :width] = 1
        images[image, :, height:] = images[image, :, :, width:] = 0
    with torch.no_grad():
        mine, other = ours(images, sizes), theirs(images, pixel_mask=mask)
    assert other.logits.std() > 0.1 and other.pred_boxes.std(1).max() > 0.01
    torch.testing.assert_close(mine.class_logits, other.logits, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(mine.boxes, other.pred_boxes, atol=1e-4, rtol=1e-4)
    if hasattr(other, "pred_masks"):
        assert other.pred_masks.std() > 0.1
        torch.testing.assert_close(mine.mask_logits, other.pred_masks, atol=1e-4, rtol=1e-4)
    else:
        assert mine.mask_logits is None


def test_loads_their_state_dict(ours, theirs):
    report = load_official(ours, theirs.state_dict())
    assert report.matched == len(ours.state_dict())
    assert_same(ours, theirs)


def test_loads_their_files(ours, theirs, tmp_path):
    theirs.save_pretrained(tmp_path)
    load_official(ours, tmp_path / "model.safetensors")
    assert_same(ours, theirs)


def test_they_load_ours(ours, theirs, tmp_path):
    from safetensors.torch import save_file

    randomize(ours)
    theirs.config.save_pretrained(tmp_path)
    state = to_official(ours, "huggingface")
    save_file({key: value.contiguous() for key, value in state.items()}, tmp_path / "model.safetensors",
              metadata={"format": "pt"})  # fmt: skip
    loaded, info = type(theirs).from_pretrained(tmp_path, output_loading_info=True)
    assert not info["unexpected_keys"] and not info["missing_keys"]
    assert_same(ours, loaded.eval())
