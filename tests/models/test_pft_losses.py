"""PFT's losses: values by hand, classes that are absent, the attention loss and its end."""

import math

import pytest
import torch

from models import build
from models.losses.pft import AttentionLossSpec, BipartiteLossSpec, PFTLossSpec
from models.matching import NonFiniteError
from models.outputs import MaskTarget, SegmentationOutput
from models.pft import BIPARTITE, PREDICTION_AVERAGE
from models.pyramid_output import PyramidOutput

SMALL = {
    "backbone": {"part": "resnet", "layers": [1, 1, 1, 1], "block": "basic", "width": 16, "norm": "group"},
    "pixel_decoder.dim": 32,
    "pixel_decoder.mask_dim": 32,
    "decoder.dim": 32,
    "decoder.heads": 4,
    "decoder.layers": 2,
    "num_classes": 3,
}


def made(classes, masks=None, attention=(), auxiliary=()):
    """An output of scales with class logits [S, B, K] and mask logits [S, B, K, h, w] (zeros)."""
    classes = torch.tensor(classes, dtype=torch.float32) if isinstance(classes, list) else classes
    masks = torch.zeros(*classes.shape, 4, 4) if masks is None else masks
    scales = [SegmentationOutput(c, m) for c, m in zip(classes, masks, strict=True)]
    return PyramidOutput(classes.mean(0), masks.mean(0), list(auxiliary), scales, list(attention))


def left_half(label, size=8):
    mask = torch.zeros(1, size, size, dtype=torch.bool)
    mask[:, :, : size // 2] = True
    return MaskTarget(torch.tensor([label]), mask)


def nothing(size=8):
    return MaskTarget(torch.zeros(0, dtype=torch.int64), torch.zeros(0, size, size, dtype=torch.bool))


def criterion(**fields):
    return PFTLossSpec(**fields).build(3)


def test_class_losses():
    logits = [[[2.0, -1.0, 0.0]], [[0.0, -3.0, 2.0]]]  # two scales; their mean is 1, -2, 1
    losses = criterion()(made(logits), [left_half(0)])
    softplus = [math.log1p(math.exp(x)) for x in (-1, -2, 1)]
    assert losses["class"].item() == pytest.approx(sum(softplus) / 3)
    focal = 0.0
    for scale in logits:
        for k, x in enumerate(scale[0]):
            p = 1 / (1 + math.exp(-x))
            p, alpha = (p, 0.25) if k == 0 else (1 - p, 0.75)
            focal -= alpha * (1 - p) ** 2 * math.log(p)
    assert losses["focal_class"].item() == pytest.approx(focal / 2)  # mean of the scales, one class present


def test_focal_class_loss_of_the_supplement():
    losses = criterion(focal_class="softmax")(made([[[math.log(2), 0.0, 0.0]]]), [left_half(1)])
    expected = -0.25 * 0.75**2 * math.log(0.25)  # probabilities 1/2, 1/4, 1/4; class 1 present
    expected -= 0.75 * (0.5**2 * math.log(0.5) + 0.25**2 * math.log(0.75))
    assert losses["focal_class"].item() == pytest.approx(expected)


def test_mask_losses_are_of_present_classes_only():
    masks = torch.zeros(1, 1, 3, 4, 4)
    masks[:, :, 1:] = 50.0
    losses = criterion()(made([[[0.0, 0.0, 0.0]]], masks), [left_half(0)])
    # 32 of 64 pixels true, all predicted 1/2
    assert losses["mask"].item() == pytest.approx(0.25 * math.log(2) * (0.25 + 0.75) / 2)
    assert losses["dice"].item() == pytest.approx(1 - (2 * 16 + 1) / (32 + 32 + 1))
    absent = criterion()(made([[[0.0, 0.0, 0.0]]], masks), [nothing()])
    assert absent["mask"] == absent["dice"] == 0


def test_sums_are_divided_by_the_classes_present():
    target, other = left_half(0), left_half(2)
    both = MaskTarget(torch.tensor([0, 2]), torch.cat([target.masks, other.masks]))
    crit, output = criterion(), made(torch.zeros(1, 2, 3))
    assert crit.normaliser([both, target], "cpu") == {"masks": 3.0}
    assert crit.normaliser([nothing()], "cpu") == {"masks": 1.0}
    losses = crit(output, [both, target])
    one = crit(made(torch.zeros(1, 1, 3)), [target])
    assert losses["mask"].item() == pytest.approx(one["mask"].item())
    assert losses["dice"].item() == pytest.approx(one["dice"].item())
    given = crit(output, [both, target], {"masks": 6.0})
    for name in ("mask", "dice", "focal_class"):
        assert given[name].item() == pytest.approx(losses[name].item() / 2)
    assert given["class"].item() == pytest.approx(losses["class"].item())


def test_segments_of_a_class_are_one():
    torch.manual_seed(0)
    output = made(torch.randn(2, 1, 3), torch.randn(2, 1, 3, 4, 4))
    output.attention = [torch.randn(1, 3, 4, 4)]
    whole = left_half(2)
    parts = whole.masks.repeat(2, 1, 1)
    parts[0, :4], parts[1, 4:] = False, False
    split = MaskTarget(torch.tensor([2, 2]), parts)
    assert criterion().normaliser([split], "cpu") == {"masks": 1.0}
    once, twice = criterion()(output, [whole]), criterion()(output, [split])
    assert once.keys() == twice.keys()
    assert all(torch.equal(once[name], twice[name]) for name in once)


def attention_of(logits, targets, **fields):
    """The attention loss of one scale's logits [B, K, h, w]."""
    crit = criterion(attention=AttentionLossSpec(**fields))
    return crit(made(torch.zeros(1, *logits.shape[:2]), attention=[logits]), targets)["attention"].item()


def test_attention_loss():
    uniform = torch.zeros(1, 3, 4, 4)
    assert attention_of(uniform, [left_half(1)]) == pytest.approx(math.log(16) * (1 + 0.1 + 0.1) / 3)
    right = torch.zeros(1, 3, 4, 4)
    right[:, 1, :, :2] = 20.0  # attends to the left half alone
    expected = (math.log(8) + 0.2 * math.log(16)) / 3
    assert attention_of(right, [left_half(1)]) == pytest.approx(expected, rel=1e-5)
    assert attention_of(right, [nothing()]) == pytest.approx(
        0.1 * (2 * math.log(16) + math.log(8) + 10) / 3, rel=1e-5
    )


def test_attention_loss_without_absent_classes():
    uniform = torch.zeros(1, 3, 4, 4)
    assert attention_of(uniform, [left_half(1)], absent_weight=0.0) == pytest.approx(math.log(16) / 3)
    assert attention_of(uniform, [nothing()], absent_weight=0.0) == 0


def test_attention_goes_to_cells_by_the_share_that_is_inside():
    mask = torch.zeros(1, 8, 8, dtype=torch.bool)
    mask[0, :4, :4], mask[0, 0, 4] = True, True  # 16 pixels of the first quarter, one of the second
    logits = torch.randn(1, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    target = MaskTarget(torch.tensor([0]), mask)
    expected = -(logits[0, 0].flatten().log_softmax(0) * torch.tensor([16, 1, 0, 0]) / 17).sum().item() / 3
    assert attention_of(logits, [target], absent_weight=0.0) == pytest.approx(expected, rel=1e-5)


def test_attention_loss_is_the_mean_of_the_scales_and_ends():
    crit = criterion()
    maps = [torch.zeros(1, 3, 2, 2), torch.zeros(1, 3, 4, 4)]
    output = made(torch.zeros(2, 1, 3), attention=maps)
    losses = crit(output, [left_half(1)])
    assert losses["attention"].item() == pytest.approx(0.4 * (math.log(4) + math.log(16)) / 2)
    others = {name: value for name, value in losses.items() if name != "attention"}
    difference = crit.total(losses) - crit.total(others)
    assert difference.item() == pytest.approx(0.1 * losses["attention"].item(), rel=1e-5)
    crit.progress = 0.749
    assert "attention" in crit(output, [left_half(1)])
    crit.progress = 0.75
    assert crit(output, [left_half(1)]).keys() == others.keys()
    endless = criterion(attention=AttentionLossSpec(stop=1.0))
    endless.progress = 0.999
    assert "attention" in endless(output, [left_half(1)])
    assert "attention" not in criterion(attention=None)(output, [left_half(1)])


def test_total_is_weighted():
    crit = criterion(class_weight=0.5, focal_class_weight=2.0)
    one = torch.tensor(1.0)
    names = ("class", "focal_class", "mask", "dice", "attention")
    total = crit.total({name: one for name in names} | {f"aux3/{name}": one for name in names})
    assert total.item() == pytest.approx(2 * (0.5 + 2 + 20 + 1 + 0.1))


def test_every_layer_and_the_input_queries_are_compared():
    torch.manual_seed(0)
    images, targets = torch.randn(2, 3, 64, 64), [left_half(0, 64), left_half(2, 64)]
    model = build("pft_r50_ade20k", overrides=SMALL)
    losses = criterion()(model(images), targets)
    kinds = ["class", "mask", "dice", "focal_class"]
    assert list(losses) == [
        *kinds, "attention", *(f"aux0/{n}" for n in kinds), *(f"aux1/{n}" for n in kinds), "aux1/attention"
    ]  # fmt: skip
    spared = criterion(supervise_input=False)(model(images), targets)
    assert [name for name in spared if name.startswith("aux0/")] == []
    assert "aux1/class" in spared
    assert "attention" not in criterion()(model.eval()(images), targets)


def test_losses_reach_every_parameter_without_targets():
    torch.manual_seed(0)
    for overrides, spec in (({}, PFTLossSpec()), (BIPARTITE, BipartiteLossSpec())):
        model, crit = build("pft_r50_ade20k", overrides={**SMALL, **overrides}), spec.build(3)
        losses = crit(model(torch.randn(2, 3, 64, 64)), [nothing(64), nothing(64)])
        assert losses["mask"] == losses["dice"] == 0
        crit.total(losses).backward()
        assert not [name for name, p in model.named_parameters() if p.grad is None]


def test_prediction_average_compares_each_scale():
    torch.manual_seed(0)
    classes, masks = torch.randn(3, 2, 3), torch.randn(3, 2, 3, 4, 4)
    targets = [left_half(0), left_half(2)]
    losses = criterion(average="predictions")(made(classes, masks), targets)
    single = [criterion()(made(c[None], m[None]), targets) for c, m in zip(classes, masks, strict=True)]
    for name in ("class", "focal_class", "mask", "dice"):
        expected = sum(each[name].item() for each in single) / 3
        assert losses[name].item() == pytest.approx(expected, rel=1e-5)
    assert PREDICTION_AVERAGE["loss.average"] == "predictions"


def test_bipartite_losses_are_those_of_each_scale():
    torch.manual_seed(0)
    scales = [SegmentationOutput(torch.randn(2, 6, 4), torch.randn(2, 6, 4, 4)) for _ in range(3)]
    output = PyramidOutput(
        torch.cat([s.class_logits for s in scales], 1), torch.cat([s.mask_logits for s in scales], 1),
        scales=scales,
    )  # fmt: skip
    targets = [left_half(0), left_half(2)]
    crit = BipartiteLossSpec().build(3)
    losses = crit(output, targets, crit.normaliser(targets, "cpu"))
    single = [crit.criterion(scale, targets) for scale in scales]
    assert losses.keys() == {"class", "mask", "dice"}
    for name, value in losses.items():
        assert value.item() == pytest.approx(sum(each[name].item() for each in single) / 3, rel=1e-5)
    expected = losses["class"] + 20 * losses["mask"] + losses["dice"]
    assert crit.total(losses).item() == pytest.approx(expected.item(), rel=1e-5)


def test_predictions_that_are_not_finite_are_named():
    bad = torch.zeros(1, 1, 3, 4, 4)
    bad[0, 0, 1, 2, 2] = float("nan")
    output = made(torch.zeros(1, 1, 3), auxiliary=[made(torch.zeros(1, 1, 3), bad)])
    with pytest.raises(NonFiniteError, match="aux0/mask_logits: not finite"):
        criterion()(output, [left_half(0)])


def test_targets_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match="target label 3 is outside"):
        criterion()(made(torch.zeros(1, 1, 3)), [left_half(3)])
    with pytest.raises(ValueError, match="1 predictions but 2 targets"):
        criterion()(made(torch.zeros(1, 1, 3)), [left_half(0)] * 2)


def test_half_precision_predictions():
    torch.manual_seed(0)
    output = made(torch.randn(2, 1, 3), torch.randn(2, 1, 3, 4, 4), attention=[torch.randn(1, 3, 4, 4)])
    half = made(
        torch.stack([s.class_logits for s in output.scales]).bfloat16(),
        torch.stack([s.mask_logits for s in output.scales]).bfloat16(),
        attention=[output.attention[0].bfloat16()],
    )
    exact = criterion()(output, [left_half(1)])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = criterion()(half, [left_half(1)])
    assert all(value.dtype == torch.float32 for value in losses.values())
    for name, value in losses.items():
        assert value.item() == pytest.approx(exact[name].item(), rel=0.03)
