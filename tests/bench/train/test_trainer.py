import math

import pytest
import torch

from bench.errors import UserError
from bench.mini.shrink import shrink
from bench.train import NonFiniteLoss, Trainer, TrainSpec
from bench.train.precision import amp_dtype, require_finite
from models import preset
from models.losses import MaskLossSpec
from models.outputs import MaskTarget
from models.spec import SpecError
from tests.bench.train.tiny import TinySpec
from tests.bench.train.toy import batch


@pytest.fixture
def trainer():
    torch.manual_seed(0)
    return Trainer(
        TinySpec().build(), TrainSpec(steps=60, batch=2, lr=3e-3, backbone_lr_factor=1.0, clip=1.0)
    )


def test_training_lowers_the_loss(trainer):
    losses = [trainer.step(step, batch(4, step % 12))["loss"] for step in range(60)]
    assert sum(losses[-12:]) < 0.75 * sum(losses[:12])


def test_a_step_reports_what_it_did(trainer):
    values = trainer.step(30, batch())
    assert list(values) == ["loss", "class", "mask", "dice", "gradient_norm", "lr"]
    assert values["lr"] == pytest.approx(3e-3 * 0.5**0.9)
    assert (
        values["loss"] > 2 * values["class"] + 5 * values["mask"] + 5 * values["dice"]
    )  # auxiliary outputs count


def test_the_gradient_of_the_whole_model_is_clipped():
    torch.manual_seed(0)
    trainer = Trainer(TinySpec().build(), TrainSpec(steps=9, batch=2, clip=0.01))
    values = trainer.step(0, batch())
    norm = torch.stack([p.grad.norm() for p in trainer.model.parameters()]).norm().item()
    assert values["gradient_norm"] > 1.0
    assert norm == pytest.approx(0.01, rel=1e-4)


def test_accumulation_gives_the_losses_of_the_whole_batch():
    """Without batch norm and dropout, the parts of a batch add up to it, random points and all."""
    data = batch(4)
    gradients, values = [], []
    for parts in (1, 2, 4):
        torch.manual_seed(0)
        loss = MaskLossSpec(points=32)
        model = TinySpec(loss=loss).build()
        model.backbone[1], model.dropout = torch.nn.Identity(), torch.nn.Identity()
        trainer = Trainer(model, TrainSpec(steps=9, batch=4, accumulate=parts, clip=None))
        values.append(trainer.step(0, data))
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    for other in (1, 2):
        assert torch.allclose(gradients[0], gradients[other], atol=1e-6)
        assert values[other] == pytest.approx(values[0], rel=1e-5)


def test_empty_targets_train(trainer):
    made = batch()
    empty = [MaskTarget(t.labels[:0], t.masks[:0]) for t in made.targets]
    values = trainer.step(0, made._replace(targets=empty))
    assert values["mask"] == 0.0 and values["class"] > 0


def test_a_prediction_that_is_not_finite_stops_with_its_name(trainer):
    with pytest.raises(NonFiniteLoss, match="step 7: .*logits.*NaN"):
        trainer.step(7, batch(poison=True))


def test_a_loss_that_is_not_finite_stops_with_its_name(trainer):
    trainer.criterion.forward = lambda *_, **__: {
        "class": torch.tensor(1.0),
        "aux0/dice": torch.tensor(math.inf),
    }
    with pytest.raises(NonFiniteLoss, match="step 3: loss 'aux0/dice' is infinite"):
        trainer.step(3, batch())


def test_a_gradient_that_is_not_finite_stops_with_its_name_before_the_step(trainer):
    weight = trainer.model.classify.weight
    weight.register_hook(lambda gradient: gradient * math.nan)
    before = weight.detach().clone()
    with pytest.raises(NonFiniteLoss, match="step 0: gradient of classify.weight is NaN"):
        trainer.step(0, batch())
    assert torch.equal(weight, before)


def test_require_finite_passes_what_is_finite():
    require_finite({"a": torch.ones(3), "b": torch.tensor(-1e38)}, 0)


def test_amp_is_off_on_the_cpu_unless_asked_for():
    cpu = torch.device("cpu")
    assert amp_dtype("auto", cpu) is None and amp_dtype("off", cpu) is None
    assert amp_dtype("bf16", cpu) is torch.bfloat16
    with pytest.raises(UserError, match="fp16 needs a CUDA device"):
        amp_dtype("fp16", cpu)


def test_an_overflow_under_a_loss_scale_skips_the_step_and_lowers_the_scale(trainer):
    trainer.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127)
    before = [p.detach().clone() for p in trainer.model.parameters()]
    values = trainer.step(0, batch())
    assert values["gradient_norm"] is None and math.isfinite(values["loss"])
    assert all(torch.equal(a, b) for a, b in zip(trainer.model.parameters(), before, strict=True))
    assert trainer.scaler.get_scale() == 2.0**126


def test_bf16_trains():
    trainer = Trainer(TinySpec().build(), TrainSpec(steps=2, batch=2, amp="bf16"))
    assert math.isfinite(trainer.step(0, batch())["loss"])


def test_a_part_of_the_model_is_told_how_far_the_run_is():
    model = TinySpec().build()
    model.dropout.progress = None
    Trainer(model, TrainSpec(steps=60, batch=2)).step(45, batch())
    assert model.dropout.progress == 0.75


def test_dynamic_queries_begin_when_their_share_of_the_run_is_done():
    spec = shrink(preset("faseg_r50_ade20k").override({"decoder.queries.begin": 0.5, "num_classes": 4}))
    trainer = Trainer(spec.build(), TrainSpec(steps=100, batch=2))
    trainer.step(49, batch())
    assert trainer.model.decoder.queries.progress == 0.49


def test_the_attention_loss_stops_when_its_share_of_the_run_is_done():
    spec = shrink(preset("pft_r50_ade20k").override({"num_classes": 4}))
    trainer = Trainer(spec.build(), TrainSpec(steps=100, batch=2))
    assert "attention" in trainer.step(74, batch()) and "attention" not in trainer.step(75, batch())


def test_sums_are_divided_by_the_whole_batchs_counts():
    """The criterion is given its own counts of the batch, shared among the parts."""
    trainer = Trainer(TinySpec().build(), TrainSpec(steps=9, batch=4, accumulate=2))
    made, seen, forward = batch(4), [], trainer.criterion.forward

    def note(output, targets, normaliser):
        seen.append(normaliser)
        return forward(output, targets, normaliser=normaliser)

    trainer.criterion.forward = note
    trainer.step(0, made)
    objects = sum(len(t.labels) for t in made.targets)
    weights = objects + 0.1 * (4 * 8 - objects)  # of 8 queries in each of 4 images
    assert seen == [{"masks": objects / 2, "classes": pytest.approx(weights / 2)}] * 2


def test_a_model_that_wants_to_know_sizes_is_told():
    model, told = TinySpec().build(), []
    forward = model.forward

    def forward_with_sizes(images, sizes=None):
        told.append(sizes)
        return forward(images)

    model.forward = forward_with_sizes
    trainer = Trainer(model, TrainSpec(steps=9, batch=4, accumulate=2))
    made = batch(4)
    trainer.step(0, made)
    trainer.step(1, made._replace(sizes=[(32, 32), (32, 30), (32, 28), (20, 32)]))
    assert told == [None, None, [(32, 32), (32, 30)], [(32, 28), (20, 32)]]


@pytest.mark.parametrize(
    "fields",
    [
        {"steps": 0}, {"batch": 3, "accumulate": 2}, {"clip": 0.0}, {"lr": -1.0}, {"lr": math.nan},
        {"seed": -1}, {"seed": 2**63}, {"eval_every": -1}, {"weight_decay": math.inf},
    ],
)  # fmt: skip
def test_specs_that_cannot_be_run(fields):
    with pytest.raises(SpecError):
        TrainSpec(**fields)
