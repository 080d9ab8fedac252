import pytest

from bench.train.schedule import ConstantSchedule, PolySchedule, StepSchedule

# Multipliers of detectron2's WarmupPolyLR as the released configs of FASeg and Mask2Former build it.
ADE20K_POLY = {
    0: 1.0,
    1: 0.9999943749982422,
    1000: 0.9943732381459104,
    40000: 0.7718895067235706,
    80000: 0.5358867312681466,
    144000: 0.1258925411794167,
    159999: 2.0715337608331462e-05,
}
# MaskFormer Swin-T on ADE20K: the same with a warm-up of 1500 steps from 1e-6.
WARM_POLY = {
    0: 1e-06,
    1: 0.0006676622443775764,
    5: 0.0033342362218222203,
    1000: 0.6629158235550197,
    40000: 0.7718895067235705,
}
# Mask2Former on COCO panoptic: x0.1 after steps 327,778 and 355,092 of 368,750.
COCO_STEP = {0: 1.0, 295000: 1.0, 327777: 1.0, 327778: 0.1, 355091: 0.1, 355092: 0.01, 368749: 0.01}


@pytest.mark.parametrize(("step", "expected"), ADE20K_POLY.items())
def test_poly_is_the_released_one(step, expected):
    assert PolySchedule().multiplier(step, 160_000) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("step", "expected"), WARM_POLY.items())
def test_warmup_multiplies_the_schedule(step, expected):
    schedule = PolySchedule(warmup=1500, warmup_factor=1e-6)
    assert schedule.multiplier(step, 160_000) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("step", "expected"), COCO_STEP.items())
def test_step_is_the_released_one(step, expected):
    schedule = StepSchedule(milestones=(327778 / 368750, 355092 / 368750))
    assert schedule.multiplier(step, 368_750) == pytest.approx(expected, rel=1e-12)


def test_poly_ends_at_zero_after_the_last_step():
    assert PolySchedule().multiplier(10, 10) == 0.0
    assert PolySchedule(power=2.0).multiplier(5, 10) == 0.25


def test_constant():
    assert [ConstantSchedule(warmup=2).multiplier(step, 9) for step in range(4)] == [0.0, 0.5, 1.0, 1.0]
