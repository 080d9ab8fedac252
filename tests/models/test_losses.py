"""The mask loss: values by hand and of the released Mask2Former, order of draws, empty and bad input."""

from pathlib import Path

import numpy as np
import pytest
import torch

from models.losses import MaskLossSpec, NonFiniteError, maskformer_loss
from models.losses.base import check_targets
from models.outputs import MaskTarget, SegmentationOutput
from models.points import uncertain_points

GOLDEN = Path(__file__).parents[1] / "golden"


class Recorder:
    """Uniform points that remember what they were asked for."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, int]] = []

    def __call__(self, masks: int, points: int, device: torch.device) -> torch.Tensor:
        self.calls.append((masks, points))
        return torch.rand(masks, points, 2, device=device)


def centre(masks: int, points: int, device: torch.device) -> torch.Tensor:
    return torch.full((masks, points, 2), 0.5, device=device)


def target(labels: list[int], size: int = 8) -> MaskTarget:
    return MaskTarget(torch.tensor(labels), torch.ones(len(labels), size, size, dtype=torch.bool))


def nothing(size: int = 8) -> MaskTarget:
    return MaskTarget(torch.zeros(0, dtype=torch.int64), torch.zeros(0, size, size, dtype=torch.bool))


def zeros(batch: int = 1, queries: int = 2, classes: int = 2) -> SegmentationOutput:
    return SegmentationOutput(
        torch.zeros(batch, queries, classes + 1, requires_grad=True),
        torch.zeros(batch, queries, 2, 2, requires_grad=True),
    )


def golden(system: str = "mask2former") -> tuple[SegmentationOutput, list[MaskTarget]]:
    """Predictions [2, 20, ...] and 5 + 7 targets; 22 of 28 unmatched masks (MaskFormer: all) were replaced by
    logits of 20."""
    data = np.load(GOLDEN / f"criterion_{system}.npz")
    output = SegmentationOutput(torch.from_numpy(data["class_logits"]), torch.from_numpy(data["mask_logits"]))
    targets = [
        MaskTarget(
            torch.from_numpy(data[f"labels{i}"]), torch.from_numpy(np.unpackbits(data[f"masks{i}"], axis=-1))
        )
        for i in (0, 1)
    ]
    return output, targets


def test_released_losses() -> None:
    """The released criterion's final-layer losses, torch seed 4014 immediately before it."""
    output, targets = golden()
    criterion = MaskLossSpec().build(11)
    torch.manual_seed(4014)
    losses = criterion(output, targets)
    assert losses["class"].item() == pytest.approx(2.6366140842437744, abs=1e-4)
    assert losses["mask"].item() == pytest.approx(0.6869005560874939, abs=1e-4)
    assert losses["dice"].item() == pytest.approx(0.7577266693115234, abs=1e-4)
    assert criterion.total(losses).item() == pytest.approx(12.4963643, abs=1e-3)


def test_released_losses_of_maskformer() -> None:
    """The released criterion's final-layer losses and assignment; nothing is random in them."""
    output, targets = golden("maskformer")
    criterion = maskformer_loss().build(11)
    losses = criterion(output, targets)
    assert losses["class"].item() == pytest.approx(2.643294334411621, abs=1e-5)
    assert losses["mask"].item() == pytest.approx(0.216597780585289, abs=1e-6)
    assert losses["dice"].item() == pytest.approx(0.879117488861084, abs=1e-6)
    assert criterion.total(losses).item() == pytest.approx(2.6432943 + 20 * 0.21659778 + 0.8791175, abs=1e-5)
    matches = criterion.matcher(output.class_logits, output.mask_logits, targets)
    assert torch.stack(matches[0]).tolist() == [[0, 1, 11, 16, 19], [4, 1, 0, 2, 3]]
    assert torch.stack(matches[1]).tolist() == [[2, 5, 7, 10, 11, 15, 17], [1, 3, 5, 4, 0, 2, 6]]


@pytest.mark.parametrize("matching", ["points", "masks"])
@pytest.mark.parametrize("training", ["points", "masks"])
def test_the_four_rows_of_mask2former_table_5(matching: str, training: str) -> None:
    """Where each row draws random points, and its losses where values do not depend on the places."""
    sampler = Recorder()
    spec = MaskLossSpec(points=16).override({"matching": matching, "training": training})
    losses = spec.build(2, sampler=sampler)(zeros(batch=2), [target([0, 1]), target([1])])
    expected = [(1, 16), (1, 16)] if matching == "points" else []
    assert sampler.calls == expected + ([(3, 48), (3, 4)] if training == "points" else [])
    assert losses["mask"].item() == pytest.approx(np.log(2), abs=1e-6)


def test_masks_are_compared_at_the_size_of_the_targets() -> None:
    """Logits 0 against one target pixel in 64: dice = 1 - (2 * 0.5 + 1) / (32 + 1 + 1); focal by hand."""
    truth = torch.zeros(1, 8, 8, dtype=torch.bool)
    truth[0, 3, 5] = True
    targets = [MaskTarget(torch.tensor([1]), truth)]
    losses = maskformer_loss().build(2)(zeros(), targets)
    assert losses["dice"].item() == pytest.approx(1 - 2 / 34, abs=1e-6)
    focal = 0.25 * np.log(2) * (0.25 * 1 + 0.75 * 63) / 64
    assert losses["mask"].item() == pytest.approx(focal, abs=1e-6)
    bce = maskformer_loss().override({"term": "bce"}).build(2)(zeros(), targets)
    assert bce["mask"].item() == pytest.approx(np.log(2), abs=1e-6)


@pytest.mark.parametrize("training", ["points", "masks"])
def test_more_targets_than_queries(training: str) -> None:
    """Two of three targets are matched; the loss is that of the two alone, with the count of all three."""
    torch.manual_seed(0)
    masks = torch.rand(3, 8, 8) > 0.5
    output = SegmentationOutput(torch.randn(1, 2, 4), torch.randn(1, 2, 4, 4))
    criterion = MaskLossSpec(points=9, training=training, matching="masks").build(3)
    targets = MaskTarget(torch.tensor([0, 1, 2]), masks)
    rows = criterion.matcher(output.class_logits, output.mask_logits, [targets])[0][1]
    results = []
    for chosen in (targets, MaskTarget(targets.labels[rows], masks[rows])):
        torch.manual_seed(1)
        results.append(criterion(output, [chosen], {"masks": 3.0}))
    assert {k: v.item() for k, v in results[0].items()} == {k: v.item() for k, v in results[1].items()}


def test_bfloat16_autocast_changes_nothing() -> None:
    output, targets = golden()
    output.mask_logits = output.mask_logits.bfloat16()
    criterion = MaskLossSpec(points=500).build(11)
    results = []
    for enabled in (True, False):
        torch.manual_seed(1)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            results.append(criterion(output, targets))
    assert all(loss.dtype == torch.float32 for loss in results[0].values())
    assert {k: v.item() for k, v in results[0].items()} == {k: v.item() for k, v in results[1].items()}


def test_by_hand() -> None:
    """Logits 0, target 1 at every point: BCE = ln 2; dice = 1 - (2 * 2 + 1) / (2 + 4 + 1) at 4 points."""
    criterion = MaskLossSpec(points=4).build(2, sampler=centre)
    output = zeros()
    output.class_logits = torch.tensor([[[2.0, 0.0, 0.0], [0.0, 0.0, 0.0]]])
    losses = criterion(output, [target([0])])
    matched, unmatched = np.log(np.exp(2) + 2) - 2, np.log(3)  # weights 1 and 0.1, divided by their sum
    assert losses["class"].item() == pytest.approx((matched + 0.1 * unmatched) / 1.1, abs=1e-6)
    assert losses["mask"].item() == pytest.approx(0.6931472, abs=1e-6)
    assert losses["dice"].item() == pytest.approx(2 / 7, abs=1e-6)
    halved = criterion(output, [target([0])], normaliser={"masks": 2.0})
    assert halved["mask"].item() == pytest.approx(0.3465736, abs=1e-6)
    assert halved["dice"].item() == pytest.approx(1 / 7, abs=1e-6)
    assert halved["class"].item() == losses["class"].item()


def test_auxiliary_outputs_weigh_the_same() -> None:
    criterion = MaskLossSpec(points=4).build(2, sampler=centre)
    output = zeros()
    output.auxiliary = [zeros(), zeros()]
    losses = criterion(output, [target([1])])
    assert list(losses) == [p + name for p in ("", "aux0/", "aux1/") for name in ("class", "mask", "dice")]
    one = 2 * np.log(3) + 5 * np.log(2) + 5 * 2 / 7
    assert criterion.total(losses).item() == pytest.approx(3 * one, abs=1e-5)
    criterion.total(losses).backward()
    assert output.auxiliary[1].mask_logits.grad is not None
    assert output.auxiliary[1].mask_logits.grad.abs().sum() > 0

    alone = MaskLossSpec(points=4, deep_supervision=False).build(2, sampler=centre)(output, [target([1])])
    assert list(alone) == ["class", "mask", "dice"]


def test_matching_and_the_sum_have_the_weights_of_the_spec() -> None:
    spec = MaskLossSpec(points=4, class_weight=3.0, mask_weight=7.0, dice_weight=11.0)
    criterion = spec.build(2, sampler=centre)
    matcher = criterion.matcher
    assert (matcher.class_weight, matcher.mask_weight, matcher.dice_weight, matcher.points) == (3, 7, 11, 4)
    total = criterion.total(criterion(zeros(), [target([1])]))
    assert total.item() == pytest.approx(3 * np.log(3) + 7 * np.log(2) + 11 * 2 / 7, abs=1e-5)


def test_order_and_number_of_draws() -> None:
    sampler = Recorder()
    output = zeros(batch=2)
    output.auxiliary = [zeros(batch=2)]
    MaskLossSpec(points=112).build(2, sampler=sampler)(output, [target([0, 1]), target([1])])
    once = [(1, 112), (1, 112), (3, 336), (3, 28)]
    assert sampler.calls == once + once
    sampler.calls.clear()
    MaskLossSpec().build(2, sampler=sampler)(zeros(), [target([0])])
    assert sampler.calls == [(1, 12544), (1, 37632), (1, 3136)]


def test_importance_sampling_keeps_the_undecided() -> None:
    """On a ramp of logits -3, -1, 1, 3 the candidates nearest to its middle are kept, new ones fill up."""
    logits = torch.tensor([-3.0, -1.0, 1.0, 3.0]).expand(1, 4, 4)
    draws = [torch.tensor([0.1, 0.45, 0.2, 0.55, 0.9, 0.5, 0.8, 0.7]), torch.tensor([0.15])]

    def sampler(masks: int, points: int, device: torch.device) -> torch.Tensor:
        x = draws.pop(0)
        assert (masks, points) == (1, len(x))
        return torch.stack([x, torch.full_like(x, 0.5)], -1)[None]

    points = uncertain_points(logits, points=4, oversample=2.0, importance=0.75, sampler=sampler)
    assert sorted(points[0, :3, 0].tolist()) == pytest.approx([0.45, 0.5, 0.55])
    assert points[0, 3].tolist() == pytest.approx([0.15, 0.5])


@pytest.mark.parametrize("spec", [MaskLossSpec(points=16), maskformer_loss()])
def test_no_targets_still_build_the_graph(spec: MaskLossSpec) -> None:
    output = zeros(batch=2)
    criterion = spec.build(2)
    losses = criterion(output, [nothing(), nothing()])
    assert losses["class"].item() == pytest.approx(np.log(3), abs=1e-6)
    assert (losses["mask"].item(), losses["dice"].item()) == (0.0, 0.0)
    criterion.total(losses).backward()
    assert output.mask_logits.grad is not None and output.mask_logits.grad.abs().sum() == 0
    assert output.class_logits.grad is not None and output.class_logits.grad.abs().sum() > 0

    mixed = criterion(zeros(batch=2), [nothing(), target([1])])
    assert mixed["mask"].item() == pytest.approx(0.6931472 * (1 if spec.points == 16 else 1 / 16), abs=1e-6)


def test_the_number_of_masks_is_the_mean_over_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here two processes, of which the other has 6 masks, or none and this one none either."""
    others = {3: 6.0, 0: 0.0}
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda total: total.add_(others[int(total)]))
    criterion = MaskLossSpec().build(2)
    assert criterion.normaliser([target([0, 1]), target([1])], torch.device("cpu")) == {"masks": 4.5}
    assert criterion.normaliser([nothing()], "cpu") == {"masks": 1.0}


def test_classes_of_a_part_are_divided_by_the_weights_of_the_whole_batch() -> None:
    """3 images with 2 queries and 1, 0 and 3 targets: 3 of 6 queries are matched."""
    criterion = MaskLossSpec(points=4).build(2, sampler=centre)
    counts = criterion.normaliser([target([0]), nothing(), target([0, 1, 1])], "cpu", zeros())
    assert counts == {"masks": 4.0, "classes": pytest.approx(3 + 0.1 * 3)}
    alone = criterion(zeros(), [target([0])])["class"]
    part = criterion(zeros(), [target([0])], normaliser=counts)["class"]
    assert part.item() == pytest.approx(alone.item() * (1 + 0.1) / (3 + 0.1 * 3))


def test_bad_input_is_named() -> None:
    criterion = MaskLossSpec(points=16).build(2)
    with pytest.raises(ValueError, match=r"target label 2 is outside 0\.\.1"):
        criterion(zeros(), [target([0, 2])])
    with pytest.raises(ValueError, match=r"different sizes in one batch: \(4, 4\) and \(8, 8\)"):
        criterion(zeros(batch=2), [target([0]), target([0], size=4)])
    with pytest.raises(ValueError, match="1 predictions but 2 targets"):
        criterion(zeros(), [target([0]), target([0])])
    with pytest.raises(ValueError, match=r"labels \[N\] and masks \[N, H, W\], got labels \(2,\)"):
        criterion(zeros(), [MaskTarget(torch.tensor([0, 1]), torch.ones(1, 8, 8))])
    output = zeros()
    output.auxiliary = [zeros()]
    with torch.no_grad():
        output.auxiliary[0].mask_logits[0, 1, 0, 0] = float("inf")
    with pytest.raises(NonFiniteError, match="^auxiliary output 0, image 0: mask_logits not finite"):
        criterion(output, [target([0])])


@pytest.mark.parametrize(
    ("labels", "masks", "says"),
    [
        (
            torch.tensor([0.0]),
            torch.ones(1, 8, 8, dtype=torch.bool),
            "target 1: labels must be int64, not float32",
        ),
        (
            torch.zeros(0),
            torch.zeros(0, 8, 8, dtype=torch.bool),
            "target 1: labels must be int64, not float32",
        ),
        (
            torch.tensor([0]),
            torch.ones(1, 8, 8),
            "target 1: masks must be bool, or uint8 of 0 and 1, not float32",
        ),
        (torch.tensor([0]), torch.full((1, 8, 8), 255, dtype=torch.uint8), "must hold 0 and 1, not 255"),
        (torch.tensor([[0]]), torch.ones(1, 8, 8, dtype=torch.bool), r"got labels \(1, 1\)"),
    ],
)
def test_targets_of_other_types_are_named(labels, masks, says) -> None:
    with pytest.raises(ValueError, match=says):
        MaskLossSpec(points=16).build(2)(zeros(batch=2), [target([0]), MaskTarget(labels, masks)])


def test_masks_of_uint8_are_those_of_bool() -> None:
    whole = target([0, 1])
    torch.manual_seed(0)
    expected = MaskLossSpec(points=16).build(2)(zeros(), [whole])
    torch.manual_seed(0)
    found = MaskLossSpec(points=16).build(2)(zeros(), [MaskTarget(whole.labels, whole.masks.to(torch.uint8))])
    assert found == expected


@pytest.mark.parametrize(
    ("size", "predicted", "fits"),
    [
        ((64, 96), (16, 24), True),
        ((70, 101), (18, 26), True),
        ((64, 96), (8, 12), True),
        ((64, 96), (24, 16), False),
        ((427, 640), (112, 160), False),
    ],
)
def test_masks_have_the_size_of_the_images(size, predicted, fits) -> None:
    whole = MaskTarget(torch.tensor([0]), torch.ones(1, *size, dtype=torch.bool))
    if fits:
        check_targets([whole], 1, 2, predicted)
    else:
        with pytest.raises(ValueError, match="the size of the padded images"):
            check_targets([whole], 1, 2, predicted)
