"""Boxes of targets, matching by class and box, and box losses: values by hand, brute force, bad input."""

import itertools
import math

import pytest
import torch

from models.losses.boxes import box_giou_loss, box_l1_loss, focal_class_loss, softmax_class_loss
from models.matching import BoxMatcher, NonFiniteError, target_boxes
from models.outputs import MaskTarget


def giou(a, b):
    """Of two boxes (centre x, centre y, width, height), in plain arithmetic."""
    (ax, ay, aw, ah), (bx, by, bw, bh) = a, b
    left, right = max(ax - aw / 2, bx - bw / 2), min(ax + aw / 2, bx + bw / 2)
    top, bottom = max(ay - ah / 2, by - bh / 2), min(ay + ah / 2, by + bh / 2)
    shared = max(right - left, 0) * max(bottom - top, 0)
    union = aw * ah + bw * bh - shared
    width = max(ax + aw / 2, bx + bw / 2) - min(ax - aw / 2, bx - bw / 2)
    height = max(ay + ah / 2, by + bh / 2) - min(ay - ah / 2, by - bh / 2)
    return shared / union - (width * height - union) / (width * height)


def focal(x, positive, alpha=0.25, gamma=2.0):
    p = 1 / (1 + math.exp(-x))
    if positive:
        return -alpha * (1 - p) ** gamma * math.log(p)
    return -(1 - alpha) * p**gamma * math.log(1 - p)


def random_boxes(count, seed):
    generator = torch.Generator().manual_seed(seed)
    return 0.2 + 0.4 * torch.rand(count, 4, generator=generator)


def test_boxes_around_masks_reach_the_outer_edges_of_their_pixels():
    masks = torch.zeros(4, 10, 20, dtype=torch.bool)
    masks[0, 2:5, 4:14] = True
    masks[1, 9, 19] = True
    masks[2, 0, 0] = masks[2, 9, 19] = True
    boxes = target_boxes(MaskTarget(torch.zeros(4, dtype=torch.int64), masks))
    expected = [[0.45, 0.35, 0.5, 0.3], [0.975, 0.95, 0.05, 0.1], [0.5, 0.5, 1, 1], [0, 0, 0, 0]]
    assert boxes.tolist() == [pytest.approx(box) for box in expected]


def test_given_boxes_come_first_and_no_masks_give_none():
    masks, labels = torch.ones(1, 4, 4, dtype=torch.bool), torch.zeros(1, dtype=torch.int64)
    given = torch.tensor([[0.1, 0.2, 0.3, 0.4]], dtype=torch.float64)
    assert target_boxes(MaskTarget(labels, masks, given)).tolist() == given.float().tolist()
    assert target_boxes(MaskTarget(labels[:0], masks[:0])).shape == (0, 4)


@pytest.mark.parametrize("kind", ["focal", "softmax"])
def test_cost_pair_by_pair(kind):
    generator = torch.Generator().manual_seed(1)
    logits, boxes = 3 * torch.randn(5, 4, generator=generator), random_boxes(5, 2)
    labels, truths = torch.tensor([2, 0, 1]), random_boxes(3, 3)
    cost = BoxMatcher(kind, 3.0, 7.0, 11.0).cost(logits, boxes, labels, truths)
    for q, n in itertools.product(range(5), range(3)):
        x = logits[q].tolist()
        if kind == "focal":
            classes = focal(x[labels[n]], True) - focal(x[labels[n]], False)
        else:
            classes = -math.exp(x[labels[n]]) / sum(map(math.exp, x))
        distance = sum(abs(a - b) for a, b in zip(boxes[q].tolist(), truths[n].tolist(), strict=True))
        expected = 3 * classes + 7 * distance - 11 * giou(boxes[q].tolist(), truths[n].tolist())
        assert cost[q, n].item() == pytest.approx(expected, abs=1e-5)


def test_extreme_logits_have_finite_costs():
    logits = torch.tensor([[200.0, -200.0]])
    cost = BoxMatcher("focal").cost(logits, random_boxes(1, 0), torch.tensor([0, 1]), random_boxes(2, 0))
    assert cost.isfinite().all() and cost[0, 0] < cost[0, 1]


def test_matches_equal_brute_force():
    generator = torch.Generator().manual_seed(5)
    logits, boxes = torch.randn(2, 4, 3, generator=generator), random_boxes(8, 6).view(2, 4, 4)
    masks = torch.zeros(3, 8, 8, dtype=torch.bool)
    targets = [
        MaskTarget(torch.tensor([1, 0, 2]), masks, random_boxes(3, 7)),
        MaskTarget(torch.zeros(0, dtype=torch.int64), masks[:0]),
    ]
    matcher = BoxMatcher("focal")
    matches = matcher(logits, boxes, targets)
    cost = matcher.cost(logits[0], boxes[0], targets[0].labels, targets[0].boxes)
    best = min(itertools.permutations(range(4), 3), key=lambda rows: cost[rows, range(3)].sum())
    queries, columns = matches[0]
    assert dict(zip(columns.tolist(), queries.tolist(), strict=True)) == dict(enumerate(best))
    assert [len(part) for part in matches[1]] == [0, 0]


@pytest.mark.parametrize("tensor", ["class_logits", "boxes", "mask_logits"])
def test_non_finite_names_the_tensor(tensor):
    inputs = {
        "class_logits": torch.zeros(2, 3, 4),
        "boxes": torch.full((2, 3, 4), 0.5),
        "mask_logits": torch.zeros(2, 3, 5, 5),
    }
    inputs[tensor][1, 2, 0] = float("inf") if tensor == "mask_logits" else float("nan")
    target = MaskTarget(torch.tensor([2]), torch.ones(1, 8, 8, dtype=torch.bool))
    with pytest.raises(NonFiniteError, match=f"^auxiliary output 4, image 1: {tensor} not finite"):
        BoxMatcher()(**inputs, targets=[target, target], name="auxiliary output 4")


def test_box_losses_by_hand():
    boxes, truths = random_boxes(3, 8), random_boxes(3, 9)
    pairs = list(zip(boxes.tolist(), truths.tolist(), strict=True))
    distance = sum(abs(a - b) for box, truth in pairs for a, b in zip(box, truth, strict=True))
    assert box_l1_loss(boxes, truths, 4.0).item() == pytest.approx(distance / 4, rel=1e-5)
    overlap = sum(1 - giou(box, truth) for box, truth in pairs)
    assert box_giou_loss(boxes, truths, 4.0).item() == pytest.approx(overlap / 4, rel=1e-5)
    nothing = torch.zeros(0, 4, requires_grad=True)
    assert box_l1_loss(nothing, nothing, 1.0).item() == box_giou_loss(nothing, nothing, 1.0).item() == 0.0


def test_class_losses_by_hand():
    logits = 2 * torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(10))
    labels = torch.tensor([[0, 4, 3], [4, 4, 1]])
    expected = sum(
        focal(logits[b, q, k].item(), labels[b, q] == k)
        for b, q, k in itertools.product(range(2), range(3), range(4))
    )
    assert focal_class_loss(logits, labels, 5.0).item() == pytest.approx(expected / 5, rel=1e-5)

    wide = torch.cat([logits, logits[..., :1]], -1)
    total = weights = 0.0
    for b, q in itertools.product(range(2), range(3)):
        weight = 0.1 if labels[b, q] == 4 else 1.0
        total -= weight * math.log(wide[b, q].softmax(-1)[labels[b, q]])
        weights += weight
    assert softmax_class_loss(wide, labels, 0.1).item() == pytest.approx(total / weights, rel=1e-5)
