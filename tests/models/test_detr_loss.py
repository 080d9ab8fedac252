"""The loss of DETR and Deformable DETR against a plain computation, pair by pair and pixel by pixel."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F

from models.losses.detr import DETRLossSpec
from models.matching import NonFiniteError
from models.outputs import BoxOutput, MaskTarget

IDS = torch.tensor([4, 1, 2])  # columns of three classes, of five
QUERIES = 5


def output(sigmoid=False, columns=5, seed=0, masks=True):
    generator = torch.Generator().manual_seed(seed)

    def layer():
        return BoxOutput(
            class_logits=torch.randn(2, QUERIES, columns + (not sigmoid), generator=generator),
            mask_logits=None,
            boxes=0.2 + 0.5 * torch.rand(2, QUERIES, 4, generator=generator),
            class_ids=None if sigmoid else IDS,
            sigmoid=sigmoid,
        )

    last = layer()
    last.auxiliary = [layer(), layer()]
    if masks:
        last.mask_logits = 2 * torch.randn(2, QUERIES, 5, 7, generator=generator)
    return last


def targets():
    generator = torch.Generator().manual_seed(9)
    found = []
    for labels in ([2, 0, 1], [1]):
        masks = torch.rand(len(labels), 10, 14, generator=generator) > 0.6
        boxes = 0.2 + 0.5 * torch.rand(len(labels), 4, generator=generator)
        found.append(MaskTarget(torch.tensor(labels), masks, boxes))
    return found


def corners(box):
    x, y, w, h = box
    return x - w / 2, y - h / 2, x + w / 2, y + h / 2


def one_minus_giou(a, b):
    a, b = corners(a), corners(b)
    area = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    shared = max(min(a[2], b[2]) - max(a[0], b[0]), 0) * max(min(a[3], b[3]) - max(a[1], b[1]), 0)
    union = sum(area) - shared
    hull = (max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1]))
    return 1 - (shared / union - (hull - union) / hull)


def focal(x, positive):
    p = 1 / (1 + math.exp(-x))
    return -0.25 * (1 - p) ** 2 * math.log(p) if positive else -0.75 * p**2 * math.log(1 - p)


def plain(layer, found, spec, count):
    """The losses of one layer, by brute force over assignments and loops over queries and pixels."""
    sums = dict.fromkeys(("class", "l1", "giou", "mask", "dice"), 0.0)
    weights = 0.0
    for image, target in enumerate(found):
        logits, boxes = layer.class_logits[image].tolist(), layer.boxes[image].tolist()
        columns = (target.labels if layer.class_ids is None else IDS[target.labels]).tolist()
        truths = target.boxes.tolist()

        def pair(q, n, logits=logits, boxes=boxes, columns=columns, truths=truths):
            x = logits[q]
            classes = -math.exp(x[columns[n]]) / sum(map(math.exp, x))
            if layer.sigmoid:
                classes = focal(x[columns[n]], True) - focal(x[columns[n]], False)
            l1 = sum(abs(a - b) for a, b in zip(boxes[q], truths[n], strict=True))
            giou = one_minus_giou(boxes[q], truths[n])
            return classes, l1, giou

        def cost(rows):
            weighted = (spec.class_weight, spec.l1_weight, spec.giou_weight)
            return sum(w * c for n, q in enumerate(rows) for w, c in zip(weighted, pair(q, n), strict=True))

        best = min(itertools.permutations(range(QUERIES), len(columns)), key=cost)
        for n, q in enumerate(best):
            sums["l1"] += pair(q, n)[1] / count
            sums["giou"] += pair(q, n)[2] / count
            if layer.mask_logits is None:
                continue
            x = F.interpolate(layer.mask_logits[None, image, q : q + 1], (10, 14), mode="bilinear").flatten()
            t = target.masks[n].flatten().tolist()
            p = x.sigmoid().tolist()
            sums["mask"] += sum(focal(v, y) for v, y in zip(x.tolist(), t, strict=True)) / len(t) / count
            overlap = sum(a * b for a, b in zip(p, t, strict=True))
            sums["dice"] += (1 - (2 * overlap + 1) / (sum(p) + sum(t) + 1)) / count
        for q, x in enumerate(logits):
            truth = columns[best.index(q)] if q in best else 5
            if layer.sigmoid:
                sums["class"] += sum(focal(v, k == truth) for k, v in enumerate(x)) / count
            else:
                weight = spec.no_object if truth == 5 else 1.0
                sums["class"] -= weight * math.log(math.exp(x[truth]) / sum(map(math.exp, x)))
                weights += weight
    if not layer.sigmoid:
        sums["class"] /= weights
    return {k: v for k, v in sums.items() if layer.mask_logits is not None or k not in ("mask", "dice")}


@pytest.mark.parametrize("sigmoid", [False, True], ids=["softmax", "sigmoid"])
def test_equals_a_plain_computation(sigmoid):
    spec = DETRLossSpec(classes="focal", class_weight=2.0) if sigmoid else DETRLossSpec()
    criterion, predicted = spec.build(3), output(sigmoid)
    losses = criterion(predicted, targets())
    expected = plain(predicted, targets(), spec, 4.0)
    for i, layer in enumerate(predicted.auxiliary):
        expected |= {f"aux{i}/{name}": loss for name, loss in plain(layer, targets(), spec, 4.0).items()}
    assert set(losses) == set(expected) and len(losses) == 11
    for name, loss in losses.items():
        assert loss.item() == pytest.approx(expected[name], rel=1e-4), name
    weights = {"class": spec.class_weight, "l1": 5, "giou": 2, "mask": 1, "dice": 1}
    total = sum(weights[name.rpartition("/")[2]] * loss for name, loss in expected.items())
    assert criterion.total(losses).item() == pytest.approx(total, rel=1e-4)


def test_normaliser_is_the_number_of_boxes_and_can_be_given():
    criterion = DETRLossSpec(deep_supervision=False).build(3)
    assert criterion.normaliser(targets(), "cpu") == {"boxes": 4.0}
    assert criterion.normaliser([targets()[0]], "cpu") == {"boxes": 3.0}
    one, half = (criterion(output(), targets(), {"boxes": count}) for count in (4.0, 8.0))
    assert set(one) == {"class", "l1", "giou", "mask", "dice"}
    for name, loss in one.items():
        expected = loss if name == "class" else loss / 2
        torch.testing.assert_close(half[name], expected)


@pytest.mark.parametrize("sigmoid", [False, True], ids=["softmax", "sigmoid"])
def test_without_targets_everything_still_has_gradients(sigmoid):
    spec = DETRLossSpec(classes="focal") if sigmoid else DETRLossSpec()
    predicted = output(sigmoid)
    tensors = [predicted.mask_logits]
    for layer in (predicted, *predicted.auxiliary):
        tensors += [layer.class_logits, layer.boxes]
    for tensor in tensors:
        tensor.requires_grad_()
    nothing = [MaskTarget(t.labels[:0], t.masks[:0]) for t in targets()]
    criterion = spec.build(3)
    assert criterion.normaliser(nothing, "cpu") == {"boxes": 1.0}
    losses = criterion(predicted, nothing)
    assert {losses[name].item() for name in ("l1", "giou", "mask", "dice")} == {0.0}
    criterion.total(losses).backward()
    assert all(tensor.grad is not None and tensor.grad.isfinite().all() for tensor in tensors)
    assert predicted.class_logits.grad.abs().sum() > 0


def test_boxes_only_and_boxes_from_masks():
    criterion = DETRLossSpec().build(3)
    from_masks = [MaskTarget(t.labels, t.masks) for t in targets()]
    losses = criterion(output(masks=False), from_masks)
    assert set(losses) == {f"{at}{name}" for at in ("", "aux0/", "aux1/") for name in ("class", "l1", "giou")}
    assert not torch.isclose(losses["l1"], criterion(output(masks=False), targets())["l1"])


def test_bad_input_is_named():
    criterion, good = DETRLossSpec().build(3), targets()
    with pytest.raises(ValueError, match="2 predictions but 1 targets"):
        criterion(output(), good[:1])
    good[0].labels[0] = 3
    with pytest.raises(ValueError, match=r"target label 3 is outside 0\.\.2"):
        criterion(output(), good)
    bad = output()
    bad.mask_logits[1, 0, 0, 0] = float("nan")
    with pytest.raises(NonFiniteError, match="^output, image 1: mask_logits not finite"):
        criterion(bad, targets())
    bad = output()
    bad.auxiliary[1].boxes[0, 0] = float("nan")
    with pytest.raises(NonFiniteError, match="^auxiliary output 1, image 0: boxes not finite"):
        criterion(bad, targets())
