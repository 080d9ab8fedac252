"""Panoptic SegFormer's matchings and losses: by hand, and against the released criterion."""

from pathlib import Path

import numpy as np
import pytest
import torch

from models import build
from models.inference import Frame
from models.losses import NonFiniteError, PanopticSegFormerLossSpec
from models.losses.mask_layers import dice_loss
from models.matching.panoptic_segformer import ChosenMatcher, LocationMatcher, dice_costs, mass_centres
from models.outputs import MaskTarget
from models.panoptic_output import Location, MaskDecoding, PanopticSegFormerOutput
from models.spec import SpecError

GOLDEN = Path(__file__).parents[1] / "golden" / "criterion_panoptic_segformer.npz"
THINGS, STUFF, QUERIES = 3, 2, 7


class Predictions:
    """Leaf tensors of a small output, two location layers, two blocks and the tail of 4 x 6 masks."""

    def __init__(self, batch=2, seed=0, coordinates=4, joint=False):
        source = torch.Generator().manual_seed(seed)
        classes = THINGS + STUFF if joint else THINGS

        def leaf(*shape):
            return torch.randn(batch, *shape, generator=source).requires_grad_()

        self.logits = [leaf(QUERIES, classes) for _ in range(2)]
        self.boxes = [leaf(QUERIES, coordinates) for _ in range(2)]
        self.masks = [leaf(QUERIES, 4, 6) for _ in range(3)]
        self.thing_logits = [leaf(QUERIES, classes) for _ in range(2)]
        self.thing_boxes = [leaf(QUERIES, coordinates) for _ in range(2)]
        self.stuff_masks = [] if joint else [leaf(STUFF, 4, 6) for _ in range(3)]
        self.stuff_logits = [] if joint else [leaf(STUFF, 1) for _ in range(2)]
        self.selected = None

    def leaves(self):
        lists = {name: value for name, value in vars(self).items() if isinstance(value, list)}
        return {f"{name}{i}": leaf for name, leaves in lists.items() for i, leaf in enumerate(leaves)}

    def output(self):
        def decode(selected):
            self.selected = selected
            rows = torch.arange(len(selected))[:, None], selected
            taken = [[x[rows] for x in xs] for xs in (self.masks, self.thing_logits, self.thing_boxes)]
            return MaskDecoding([m.relu() for m in taken[0]], [], *taken[1:])

        locations = [Location(c, b.sigmoid()) for c, b in zip(self.logits, self.boxes, strict=True)]
        stuff = MaskDecoding([m.relu() for m in self.stuff_masks], class_logits=self.stuff_logits)
        return PanopticSegFormerOutput(locations, stuff if self.stuff_masks else None, decode=decode)


def target(*labels, seed=0):
    source = torch.Generator().manual_seed(seed)
    masks = torch.zeros(len(labels), 32, 48, dtype=torch.bool)
    for mask in masks:
        top, left = (int(torch.randint(0, 16, (), generator=source)) for _ in range(2))
        mask[top : top + 16, left : left + 20] = True
    return MaskTarget(torch.tensor(labels, dtype=torch.int64), masks)


def criterion(**changes):
    return PanopticSegFormerLossSpec(**{"num_things": THINGS, **changes}).build(THINGS + STUFF)


# What the released criterion (cdb9b68) gave, in the order of the layers, the final one last.
RELEASED = {
    "class": [1846.0849609375],
    "box": [2.139237880706787],
    "giou": [1.0048366785049438],
    "thing_mask": [1.05442882, 1.11685669, 1.01551199, 1.14219403, 1.12498426],
    "stuff_mask": [
        0.77989727, 0.77063662, 0.64086777, 0.68836874, 0.85630298, 0.85502660, 0.78000987,
    ],
    "stuff_class": [6.4468956, 2.5221357, 6.4170947, 11.7898598, 4.1490707, 6.9293985],
}  # fmt: skip


def test_losses_are_the_released_ones():
    """On predictions of the released R50 model with weights by rule, for a random image and seven rectangles.

    Of the location layers the last is stored, and of the masks those compared (by this repository's model,
    which gives the same).
    """
    data = {key: torch.from_numpy(value) for key, value in np.load(GOLDEN).items()}
    stuff_masks = torch.zeros(7, 53, 28, 40)
    stuff_masks[:, torch.tensor([19, 41, 24])] = data["stuff_masks"]
    asked = []

    def decode(selected):
        asked.extend(selected[0].tolist())
        return MaskDecoding(list(data["thing_masks"][:, None]))

    output = PanopticSegFormerOutput(
        [Location(data["class_logits"][None], data["boxes"][None])],
        MaskDecoding(list(stuff_masks[:, None]), class_logits=list(data["stuff_logits"][:, None, :, None])),
        decode=decode,
    )
    masks = torch.from_numpy(np.unpackbits(data["gt_masks"].numpy(), axis=-1)).bool()
    losses = PanopticSegFormerLossSpec().build(133)(output, [MaskTarget(data["gt_labels"].long(), masks)])
    assert asked == [61, 181, 236, 241]
    expected = {
        key if i == len(layers) - 1 else f"aux{i}/{key}": loss
        for key, layers in RELEASED.items()
        for i, loss in enumerate(layers)
    }
    assert {key: loss.item() for key, loss in losses.items()} == pytest.approx(expected, rel=1e-5)


def test_losses_and_their_names():
    predictions = Predictions()
    losses = criterion()(predictions.output(), [target(0, 2, 4), target(1, 3)])
    location, last = ("class", "box", "giou"), ("thing_class", "thing_box", "stuff_class")
    masks = ("thing_mask", "stuff_mask")
    expected = {*location, *last, *masks} | {f"aux0/{key}" for key in (*location, *last, *masks)}
    assert set(losses) == expected | {f"aux1/{key}" for key in masks}
    total = criterion().total(losses)
    assert total.item() == pytest.approx(sum(loss.item() for loss in losses.values()), rel=1e-6)
    # Image 0 has two things and image 1 one: the second query of image 1 is none.
    assert predictions.selected.shape == (2, 2) and predictions.selected[1, 1] == -1
    assert (predictions.selected[0] >= 0).all() and predictions.selected[1, 0] >= 0
    assert losses["thing_class"].item() == losses["thing_box"].item() == 0


def test_losses_by_hand():
    """One thing and one stuff segment of whole-image masks: every sum is divided by the two of them."""
    predictions = Predictions(batch=1)
    whole = MaskTarget(torch.tensor([1, 4]), torch.ones(2, 32, 48, dtype=torch.bool))
    with torch.no_grad():
        predictions.boxes[1].zero_()
        predictions.boxes[1][0, 2] = torch.tensor([0.0, 0.0, 20.0, 20.0])  # the whole image: box and GIoU 0
        for masks in (*predictions.masks, *predictions.stuff_masks):
            masks.fill_(1.0)
        predictions.stuff_masks[2].fill_(0.5)
        predictions.stuff_logits[1].zero_()
    losses = criterion()(predictions.output(), [whole])
    assert predictions.selected.tolist() == [[2]]
    assert losses["box"].item() == pytest.approx(0, abs=1e-6)
    assert losses["giou"].item() == pytest.approx(0, abs=1e-6)
    assert losses["thing_mask"].item() == pytest.approx(0, abs=1e-6)
    assert losses["stuff_mask"].item() == pytest.approx(2 * (1 - 2 * 0.5 / 1.25) / 2, rel=1e-5)
    # Focal loss at 0: 0.25 * log 2 of the present, 0.75 * log 2 of the absent class, both times a quarter.
    assert losses["stuff_class"].item() == pytest.approx(4 * np.log(2) / 4 / 2, rel=1e-5)
    logits = predictions.logits[1].detach()[0]
    truth = torch.zeros(QUERIES, THINGS)
    truth[2, 1] = 1
    p = logits.sigmoid()
    focal = -0.25 * truth * (1 - p) ** 2 * p.log() - 0.75 * (1 - truth) * p**2 * (1 - p).log()
    assert losses["class"].item() == pytest.approx(2 * float(focal.sum()) / 2, rel=1e-5)


def test_dice_of_masks_that_are_no_logits():
    masks, truths = torch.tensor([[[0.5, 2.0]], [[0.0, 0.0]]]), torch.tensor([[[1.0, 1.0]], [[0.0, 0.0]]])
    assert dice_loss(masks, truths).tolist() == pytest.approx([1 - 5 / 6.25, 1], abs=1e-5)
    costs = dice_costs(masks, truths)
    assert costs.flatten().tolist() == pytest.approx([1 - 5 / 6.252, 1, 1, 1], abs=1e-5)


def test_mass_centres():
    masks = torch.zeros(3, 4, 8, dtype=torch.bool)
    masks[0, 1:3, 2:6] = True
    masks[1, 0, 0] = True
    expected = [[0.5, 0.5], [0.5 / 8, 0.5 / 4], [0, 0]]
    assert torch.allclose(mass_centres(masks), torch.tensor(expected))


def test_query_filter_matches_in_rounds():
    """Boxes of queries come ever farther from the target; each round takes the nearest that is free."""
    offsets = torch.tensor([0.20, 0.05, 0.10, 0.00, 0.15])
    boxes = torch.stack([0.3 + offsets, *torch.full((3, 5), 0.3)], 1)[None]
    logits, label, truth = torch.zeros(1, 5, 2), torch.tensor([1]), torch.full((1, 4), 0.3)
    for rounds, expected in ((1, [3]), (2, [1, 3]), (4, [1, 2, 3, 4]), (9, [0, 1, 2, 3, 4])):
        matches, chosen = LocationMatcher()(logits, boxes, [label], [truth], rounds)
        assert matches[0][0].tolist() == [3] and matches[0][1].tolist() == [0]
        assert chosen[0].tolist() == expected
    # Two targets of five queries: two rounds at most, as a third would have too few queries.
    matches, chosen = LocationMatcher()(logits, boxes, [label.repeat(2)], [truth.repeat(2, 1)], 3)
    assert chosen[0].tolist() == [1, 2, 3, 4] and sorted(matches[0][0].tolist()) == [1, 3]
    matches, chosen = LocationMatcher()(logits, boxes, [label[:0]], [truth[:0]], 3)
    assert chosen[0].tolist() == [] and len(matches[0][0]) == 0


def test_centres_match_by_class_and_distance():
    logits = torch.zeros(1, 3, 2)
    logits[0, 2, 1] = 3.0
    centres = torch.tensor([[[0.5, 0.5], [0.2, 0.2], [0.45, 0.5]]])
    truths = [torch.tensor([[0.5, 0.5]])]
    for label, expected in ((0, 0), (1, 2)):
        matches, _ = LocationMatcher()(logits, centres, [torch.tensor([label])], truths)
        assert matches[0][0].tolist() == [expected]
    far = LocationMatcher(class_weight=0.0).costs(logits, centres, [torch.tensor([0])], truths)[0]
    assert far[:, 0].tolist() == pytest.approx([0, 3.0, 0.25], abs=1e-6)


def test_second_matching_sees_the_masks():
    """Two targets in one place: the masks alone tell which query answers for which."""
    logits, boxes = [torch.zeros(2, 2)], [torch.full((2, 4), 0.5)]
    left, right = torch.zeros(2, 4, 4).unbind()
    left[:, :2], right[:, 2:] = 1.0, 1.0
    labels, truths = [torch.tensor([1, 1])], [torch.full((2, 4), 0.5)]
    for masks, expected in (([left, right], [0, 1]), ([right, left], [1, 0])):
        truth = [torch.stack([left, right])]
        ((queries, targets),) = ChosenMatcher()(logits, boxes, [torch.stack(masks)], labels, truths, truth)
        assert queries.tolist() == [0, 1] and targets.tolist() == expected


def test_a_batch_is_the_sum_of_its_images():
    targets = [target(0, 2, 4), target(1, seed=1)]
    both = Predictions()
    counts = {"things": 3.0, "stuff": 1.0}
    losses = criterion(thing_class_weight=2.0)(both.output(), targets, counts)
    parts = []
    for i in range(2):
        one = Predictions()
        for name, value in vars(one).items():
            if isinstance(value, list):
                setattr(one, name, [x[i : i + 1] for x in value])
        parts.append(criterion(thing_class_weight=2.0)(one.output(), targets[i : i + 1], counts))
    assert losses["thing_class"].item() > 0
    for key, loss in losses.items():
        if "stuff_class" in key or loss.item():
            assert loss.item() == pytest.approx((parts[0][key] + parts[1][key]).item(), rel=1e-5), key


def test_counts_of_the_batch():
    targets = [target(0, 2, 4), target(), target(1, 1)]
    assert criterion().normaliser(targets, "cpu") == {"things": 4.0, "stuff": 1.0}
    assert criterion().normaliser([target()], "cpu") == {"things": 1.0, "stuff": 1.0}
    assert criterion(num_things=None).normaliser(targets, "cpu") == {"things": 5.0, "stuff": 1.0}


@pytest.mark.parametrize("labels", [(), (0,), (4,), (0, 4)])
@pytest.mark.parametrize("variant", ["boxes", "centres", "joint"])
def test_every_process_builds_the_same_graph(labels, variant):
    """Without things, stuff or both every loss is there, finite, and reaches every prediction."""
    joint = variant == "joint"
    predictions = Predictions(coordinates=2 if variant == "centres" else 4, joint=joint)
    made = criterion(num_things=None if joint else THINGS)
    losses = made(predictions.output(), [target(*labels), target()])
    full = made(predictions.output(), [target(0, 1, 3), target(2, 4)])
    assert losses.keys() == full.keys()
    assert ("giou" in losses) == (variant != "centres")
    assert all(bool(loss.isfinite()) and loss.requires_grad for loss in losses.values())
    made.total(losses).backward()
    for name, leaf in predictions.leaves().items():
        assert leaf.grad is not None and bool(leaf.grad.isfinite().all()), name


def test_gradients_reach_what_they_should():
    predictions = Predictions(batch=1)
    made = criterion()
    made.total(made(predictions.output(), [target(0, 1, 3)])).backward()
    selected = set(predictions.selected[0].tolist())
    for masks in predictions.masks:
        moved = masks.grad[0].flatten(1).abs().sum(1).nonzero()[:, 0].tolist()
        assert set(moved) == selected
    for masks in predictions.stuff_masks:
        assert masks.grad[0].flatten(1).abs().sum(1).nonzero()[:, 0].tolist() == [0]
    for leaf in (*predictions.logits, *predictions.stuff_logits):
        assert bool((leaf.grad != 0).all())
    for leaf in (*predictions.thing_logits, *predictions.thing_boxes):
        assert float(leaf.grad.abs().sum()) == 0
    assert float(predictions.boxes[0].grad.abs().sum()) > 0


@pytest.mark.parametrize("sane", [False, True])
def test_stuff_classes_of_images_without_things(sane):
    """As released they are not trained: an image without things adds nothing, its neighbour does."""
    predictions = Predictions()
    made = criterion(stuff_class_without_things=sane)
    losses = made(predictions.output(), [target(4), target(0, 3)])
    made.total(losses).backward()
    for logits in predictions.stuff_logits:
        assert (float(logits.grad[0].abs().sum()) > 0) == sane
        assert float(logits.grad[1].abs().sum()) > 0
    assert all(float(masks.grad[0].abs().sum()) > 0 for masks in predictions.stuff_masks)


def test_supervision_of_the_last_layer_alone():
    predictions = Predictions()
    made = criterion(deep_supervision=False)
    losses = made(predictions.output(), [target(0, 4), target(1, 3)])
    for key in ("aux0/thing_mask", "aux1/thing_mask", "aux1/stuff_mask", "aux0/stuff_class"):
        assert losses[key].item() == 0
    for key in ("thing_mask", "stuff_mask", "stuff_class", "aux0/class"):
        assert losses[key].item() > 0


def test_queries_without_a_target_have_no_mask_loss():
    """With three rounds more queries are decoded than matched (appendix A.1: their weight is zero), and the
    classes of the mask decoder, if trained, take them as negatives."""
    predictions = Predictions(batch=1)
    made = criterion(rounds=3, thing_class_weight=2.0)
    losses = made(predictions.output(), [target(1)])
    assert predictions.selected.shape == (1, 3)
    made.total(losses).backward()
    moved = predictions.masks[2].grad[0].flatten(1).abs().sum(1)
    assert int((moved > 0).sum()) == 1
    rows = predictions.thing_logits[1].grad[0].abs().sum(1)
    assert rows.nonzero()[:, 0].tolist() == predictions.selected[0].tolist()


def test_segments_of_a_stuff_class_are_one():
    predictions, whole = Predictions(batch=1), torch.zeros(2, 32, 48, dtype=torch.bool)
    whole[0, :16], whole[1, 8:] = True, True
    counts = {"things": 1.0, "stuff": 1.0}
    two = criterion()(predictions.output(), [MaskTarget(torch.tensor([3, 3]), whole)], counts)
    one = criterion()(predictions.output(), [MaskTarget(torch.tensor([3]), whole.any(0)[None])], counts)
    assert {k: v.item() for k, v in two.items()} == pytest.approx({k: v.item() for k, v in one.items()})


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match=r"\(3, 2\) matched classes and stuff queries, expected \(2, 3\)"):
        criterion(num_things=2)(Predictions().output(), [target(0), target()])
    with pytest.raises(ValueError, match="2 predictions but 1 targets"):
        criterion()(Predictions().output(), [target(0)])
    with pytest.raises(ValueError, match=r"label 5 is outside 0\.\.4"):
        criterion()(Predictions().output(), [target(5), target()])
    blind = Predictions().output()
    blind.decode = None
    with pytest.raises(ValueError, match="`decode` is None"):
        criterion()(blind, [target(0), target()])
    with pytest.raises(SpecError, match="num_things 9 is more than num_classes 5"):
        criterion(num_things=9)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("logits", "location layer 0, image 1: class_logits"),
        ("boxes", "location layer 0, image 1: boxes"),
        ("masks", "masks of things, image 1: masks"),
        ("stuff_masks", "output: stuff masks"),
        ("stuff_logits", "output: stuff class_logits"),
    ],
)
def test_non_finite_predictions_are_named(name, message):
    predictions = Predictions()
    with torch.no_grad():
        for leaf in getattr(predictions, name):
            leaf[1] = float("nan")
            if name == "masks":
                leaf[1] = float("inf")
    with pytest.raises(NonFiniteError, match=message):
        criterion()(predictions.output(), [target(0, 4), target(1, 3)])


def test_a_small_model_learns_two_images():
    """The whole path: the criterion chooses the queries, the model decodes them, all losses fall."""
    torch.manual_seed(0)
    layers = {part: {"layers": 1, "ffn_dim": 32} for part in ("encoder", "things", "stuff")}
    overrides = {
        **layers, "location": {"layers": 2, "ffn_dim": 32, "num_queries": 12, "dropout": 0},
        "dim": 32, "kept": 8, "num_things": THINGS, "loss.num_things": THINGS, "num_classes": THINGS + STUFF,
    }  # fmt: skip
    model = build("panoptic_segformer_pvt_v2_b0_coco", overrides=overrides).train()
    made = model.spec.loss.build(model.spec.num_classes)
    targets = [target(0, 2, 4), target(1, 3, seed=1)]
    images = torch.stack([torch.einsum("nhw,n->hw", x.masks.float(), x.labels + 1.0) for x in targets])
    images = images[:, None].expand(-1, 3, -1, -1) + 0.1 * torch.randn(2, 3, 32, 48)
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    totals = []
    for _ in range(30):
        losses = made(model(images), targets)
        totals.append(made.total(losses))
        optimizer.zero_grad()
        totals[-1].backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    assert totals[-1].item() < totals[0].item() / 3
    assert all(parameter.grad is not None for parameter in model.parameters())
    with torch.no_grad():
        (found, _) = model.eval().inference.panoptic(model(images), Frame(*[(32, 48)] * 3), range(THINGS))
    assert found.ids.shape == (32, 48)
