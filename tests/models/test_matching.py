"""Hungarian matching: values by hand, by brute force, and of the released Mask2Former."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from models.mask_terms import BCESpec, FocalSpec, MaskTermSpec
from models.matching import HungarianMatcher, NonFiniteError
from models.outputs import MaskTarget
from models.points import sample_points, sample_rows

GOLDEN = Path(__file__).parents[1] / "golden" / "criterion_mask2former.npz"


def grid_sampler(masks: int, points: int, device: torch.device) -> torch.Tensor:
    """The centres of a square grid, in place of random points."""
    side = int(points**0.5)
    line = (torch.arange(side, device=device) + 0.5) / side
    y, x = torch.meshgrid(line, line, indexing="ij")
    return torch.stack([x, y], -1).reshape(1, -1, 2).expand(masks, -1, 2)


def halves(size: int = 8) -> MaskTarget:
    """Class 2 on the left half, class 0 on the right half."""
    masks = torch.zeros(2, size, size, dtype=torch.bool)
    masks[0, :, : size // 2] = True
    masks[1, :, size // 2 :] = True
    return MaskTarget(torch.tensor([2, 0]), masks)


def test_points_are_bilinear_and_zero_outside() -> None:
    maps = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    points = torch.tensor([[[0.25, 0.25], [0.75, 0.25], [0.5, 0.5], [0.0, 0.0], [1.0, 0.5]]])
    assert sample_points(maps, points)[0, 0].tolist() == [1.0, 2.0, 2.5, 0.25, 1.5]


@pytest.mark.parametrize("weights", [(2.0, 5.0, 5.0), (3.0, 7.0, 11.0)])
def test_cost_by_hand(weights: tuple[float, float, float]) -> None:
    """Zero logits against half a map: p = 1/2 everywhere."""
    matcher = HungarianMatcher(*weights, points=16, sampler=grid_sampler)
    cost = matcher._cost(torch.tensor([[0.0, 0.0, 0.0, 0.0]]), torch.zeros(1, 4, 4), halves())
    dice = 1 - (2 * 4 + 1) / (8 + 8 + 1)  # 16 points, 8 in the target, sum(p t) = 4
    expected = weights[0] * -0.25 + weights[1] * np.log(2) + weights[2] * dice
    assert cost.tolist() == [[pytest.approx(expected, abs=1e-5)] * 2]


@pytest.mark.parametrize("term", [BCESpec(), FocalSpec(), FocalSpec(alpha=0.4, gamma=1.0)])
def test_cost_of_all_pairs_is_the_loss_of_each(term: MaskTermSpec) -> None:
    torch.manual_seed(0)
    logits, labels = 3 * torch.randn(4, 50), (torch.rand(3, 50) > 0.5).float()
    negative, change = term.split(logits)
    cost = (negative.sum(1, keepdim=True) + change @ labels.T) / 50
    for query, index in itertools.product(range(4), range(3)):
        expected = term.loss(logits[query : query + 1], labels[index : index + 1]).item()
        assert cost[query, index].item() == pytest.approx(expected, abs=1e-5)


def test_cost_on_masks_takes_the_nearest_pixel_of_the_target() -> None:
    """Prediction [2, 2], target [4, 4]: its pixels (0, 0), (0, 2), (2, 0) and (2, 2) count."""
    masks = torch.zeros(1, 4, 4, dtype=torch.bool)
    masks[0, 0, 2] = masks[0, 1, 1] = True
    matcher = HungarianMatcher(0.0, 1.0, 0.0, where="masks", term=FocalSpec())
    cost = matcher._cost(torch.zeros(1, 2), torch.zeros(1, 2, 2), MaskTarget(torch.tensor([0]), masks))
    assert cost.item() == pytest.approx(0.25 * np.log(2) * (0.25 * 1 + 0.75 * 3) / 4, abs=1e-7)


def test_rows_are_sampled_as_copies_of_them() -> None:
    torch.manual_seed(0)
    maps = torch.rand(5, 7, 9)
    for rows in (torch.tensor([3, 0, 4, 1, 2]), torch.tensor([4, 2]), torch.zeros(0, dtype=torch.int64)):
        points = torch.rand(len(rows), 20, 2)
        assert torch.equal(sample_rows(maps, rows, points), sample_points(maps[rows][:, None], points)[:, 0])


def test_masks_and_classes_decide() -> None:
    left = torch.full((4, 4), -6.0)
    left[:, :2] = 6.0
    masks = torch.stack([torch.full((4, 4), 6.0), -left, left])
    classes = torch.zeros(3, 4)
    matcher = HungarianMatcher(points=16, sampler=grid_sampler)
    (queries, targets) = matcher(classes[None], masks[None], [halves()])[0]
    assert queries.tolist() == [1, 2] and targets.tolist() == [1, 0]

    same = torch.zeros(1, 2, 4, 4)  # masks say nothing: classes decide
    sure = torch.tensor([[[9.0, 0, 0, 0], [0, 0, 9.0, 0]]])
    (queries, targets) = matcher(sure, same, [halves()])[0]
    assert queries.tolist() == [0, 1] and targets.tolist() == [1, 0]


def test_equals_brute_force() -> None:
    """Cheapest of all 5!/2! assignments under the cost as the paper writes it, pair by pair."""
    generator = torch.Generator().manual_seed(3)
    classes = torch.randn(1, 5, 5, generator=generator)
    masks = 3 * torch.randn(1, 5, 6, 6, generator=generator)
    target = MaskTarget(torch.tensor([3, 0, 2]), torch.rand(3, 12, 12, generator=generator) > 0.6)
    points = grid_sampler(1, 81, torch.device("cpu"))
    costs = np.zeros((5, 3))
    for q, n in itertools.product(range(5), range(3)):
        x = sample_points(masks[:, q : q + 1], points).flatten()
        t = sample_points(target.masks[None, n : n + 1].float(), points).flatten()
        p = x.sigmoid()
        dice = 1 - (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1)
        bce = F.binary_cross_entropy_with_logits(x, t)
        costs[q, n] = -2 * classes[0, q].softmax(-1)[target.labels[n]] + 5 * bce + 5 * dice
    best = min(itertools.permutations(range(5), 3), key=lambda rows: costs[rows, range(3)].sum())
    matcher = HungarianMatcher(points=81, sampler=grid_sampler)
    assert matcher._cost(classes[0], masks[0], target).numpy() == pytest.approx(costs, abs=1e-4)
    queries, columns = matcher(classes, masks, [target])[0]
    assert dict(zip(columns.tolist(), queries.tolist(), strict=True)) == dict(enumerate(best))


def test_released_assignment() -> None:
    """The released matcher at torch seed 4014; 22 of the 28 unmatched masks were replaced by logits of 20."""
    golden = np.load(GOLDEN)
    targets = [
        MaskTarget(
            torch.from_numpy(golden[f"labels{i}"]),
            torch.from_numpy(np.unpackbits(golden[f"masks{i}"], axis=-1)),
        )
        for i in (0, 1)
    ]
    torch.manual_seed(4014)
    logits, masks = torch.from_numpy(golden["class_logits"]), torch.from_numpy(golden["mask_logits"])
    matches = HungarianMatcher()(logits, masks, targets)
    assert torch.stack(matches[0]).tolist() == [[1, 3, 6, 15, 18], [0, 1, 2, 4, 3]]
    assert torch.stack(matches[1]).tolist() == [[0, 2, 4, 10, 11, 14, 15], [4, 6, 3, 1, 5, 2, 0]]
    assert golden["match0"].tolist() == torch.stack(matches[0]).tolist()


def test_more_targets_than_queries_and_none() -> None:
    matcher = HungarianMatcher(points=16, sampler=grid_sampler)
    empty = MaskTarget(torch.zeros(0, dtype=torch.int64), torch.zeros(0, 8, 8, dtype=torch.bool))
    right = torch.full((1, 4, 4), -6.0)
    right[..., 2:] = 6.0
    matches = matcher(torch.zeros(2, 1, 4), right[None].repeat(2, 1, 1, 1), [halves(), empty])
    assert [m.tolist() for m in matches[0]] == [[0], [1]]
    assert [m.tolist() for m in matches[1]] == [[], []]


@pytest.mark.parametrize("tensor", ["class_logits", "mask_logits"])
def test_non_finite_names_the_tensor(tensor: str) -> None:
    inputs = {"class_logits": torch.zeros(2, 3, 4), "mask_logits": torch.zeros(2, 3, 4, 4)}
    inputs[tensor][1, 2].fill_(float("nan"))
    with pytest.raises(NonFiniteError, match=f"^auxiliary output 4, image 1: {tensor} not finite"):
        HungarianMatcher(points=16)(**inputs, targets=[halves(), halves()], name="auxiliary output 4")


def test_half_precision_is_computed_in_float32() -> None:
    golden = np.load(GOLDEN)
    classes = torch.from_numpy(golden["class_logits"])[:1].bfloat16()
    masks = torch.from_numpy(golden["mask_logits"])[:1].bfloat16()
    target = MaskTarget(
        torch.from_numpy(golden["labels0"]), torch.from_numpy(np.unpackbits(golden["masks0"], axis=-1))
    )
    matcher = HungarianMatcher(points=400, sampler=grid_sampler)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = matcher(classes, masks, [target])[0]
    high = matcher(classes.float(), masks.float(), [target])[0]
    assert torch.stack(low).tolist() == torch.stack(high).tolist()
