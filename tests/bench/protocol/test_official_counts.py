"""Parameters and FLOPs of the presets are those of the authors' released code, to the unit."""

import pytest

import models
from bench.protocol import flops, params
from bench.protocol.systems import setting
from tests.bench.protocol.official import OFFICIAL, OPERATORS, PARTS

ATTENTION = ("matmul", "bmm", "baddbmm", "scaled_dot_product_attention")


@pytest.mark.parametrize("name", OFFICIAL)
def test_parameters_equal_the_released_code(name):
    counted = params.count(models.preset(name))
    assert counted.by_part == dict(zip(PARTS, OFFICIAL[name].params, strict=False))
    assert counted.total == counted.trainable == sum(OFFICIAL[name].params)


@pytest.mark.parametrize("name", OFFICIAL)
def test_flops_equal_the_released_code(name):
    size = setting(name).pictures[0].size
    counted = flops.count(models.preset(name), size)
    found = dict(counted.by_operator)
    assert found.pop("ms_deform_attn") == 0
    found["attention products"] = sum(found.pop(family, 0) for family in ATTENTION)
    assert dict.fromkeys(OPERATORS, 0) | found == dict(zip(OPERATORS, OFFICIAL[name].operators, strict=True))
    assert counted.by_part == dict(zip(PARTS, OFFICIAL[name].parts, strict=True))
    assert counted.total == sum(OFFICIAL[name].parts)
    assert counted.uncounted == {}
