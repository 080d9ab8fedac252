"""Outputs of the authors' released models, reproduced.

The golden files hold what the released code of Mask2Former (commit 9b0651c6), FASeg (206b3a13) and MaskFormer
(da3e60d8) gave in evaluation mode for weights and an input that both follow from a rule, here re-implemented:
every weight is a function of its released key and shape. Only the bias of the mask features was set by hand,
to spread the masks around the thresholds; it is in the file. Kept are every 4th query and every 8th pixel of
the final prediction, and every 8th or 16th query and every 8th pixel of the first and the middle auxiliary
ones. `spread` holds the standard deviations of the six complete tensors (of MaskFormer's auxiliary masks, of
every 4th pixel).
"""

from pathlib import Path

import numpy as np
import pytest
import torch

from models import build, load_official, to_official
from tests.models.rule import weight_by_rule

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.mark.parametrize(
    ("name", "seed", "predictions", "middle"),
    [
        ("mask2former_r50_ade20k", 5, 10, 4),
        ("faseg_r50_ade20k", 6, 14, 6),
        ("maskformer_r50_ade20k", 7, 6, 2),
    ],
)
def test_outputs_equal_the_released_models(name, seed, predictions, middle):
    golden = np.load(GOLDEN / f"{name}.npz")
    model = build(name).eval()
    state = {
        key: torch.from_numpy(np.asarray(weight_by_rule(key, tuple(tensor.shape)), dtype=np.float32))
        for key, tensor in to_official(model).items()
    }
    state["sem_seg_head.pixel_decoder.mask_features.bias"] = torch.from_numpy(golden["mask_features_bias"])
    state["criterion.empty_weight"] = torch.ones(151)
    report = load_official(model, state)
    assert report.matched == len(state) - 1
    assert report.ignored == ("criterion.empty_weight",)
    image = np.random.RandomState(seed).standard_normal((1, 3, 256, 320)).astype(np.float32)
    with torch.no_grad():
        output = model(torch.from_numpy(image))
    assert len(output.auxiliary) + 1 == predictions
    start, mid = output.auxiliary[0], output.auxiliary[middle]
    ours = {
        "class_logits": output.class_logits[0, ::4],
        "mask_logits": output.mask_logits[0, ::4, ::8, ::8],
        "start_class_logits": start.class_logits[0, ::16],
        "start_mask_logits": start.mask_logits[0, ::8, ::8, ::8],
        "middle_class_logits": mid.class_logits[0, ::8],
        "middle_mask_logits": mid.mask_logits[0, ::8, ::8, ::8],
    }
    for (key, tensor), spread in zip(ours.items(), golden["spread"], strict=True):
        assert tensor.shape == golden[key].shape, key
        close = np.abs(tensor.numpy() - golden[key]) <= 1e-3 * spread
        assert close.mean() >= 0.995, f"{key}: {close.mean():.2%} of the elements agree"
