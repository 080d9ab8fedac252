"""What the two protocols leave out, and what is listed because nobody wrote a formula for it."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bench.protocol.rules import EXACT, FVCORE, PRODUCTS, Protocol, as_numpy_prints, stacked
from bench.protocol.tape import record
from ops import ms_deform_attn
from tests.bench.protocol.oracle import fvcore_count, our_count


class Deformable(nn.Module):
    def forward(self, value, locations, weights):
        return ms_deform_attn(value, [(4, 6), (2, 3)], locations, weights)


def test_our_operator_is_one_call_that_the_papers_tool_did_not_see():
    inputs = torch.zeros(1, 30, 8, 32), torch.zeros(1, 7, 8, 2, 4, 2), torch.zeros(1, 7, 8, 2, 4)
    papers, exact = our_count(Deformable(), *inputs), our_count(Deformable(), *inputs, protocol=EXACT)
    assert (papers.total, papers.by_operator, papers.uncounted) == (0, {"ms_deform_attn": 0}, {})
    assert exact.by_operator == {"ms_deform_attn": 5 * 7 * 8 * 2 * 4 * 32}


class DeformablePoints(nn.Module):
    def forward(self, value, references, offsets, logits):
        return torch.ops.maskbench.ms_deform_attn_points(value, [4, 6, 2, 3], references, offsets, logits)


def test_the_operator_that_also_makes_its_weights_counts_as_much():
    inputs = torch.zeros(1, 30, 8, 32), torch.zeros(1, 7, 1, 2), torch.zeros(1, 7, 8, 2, 4, 2)
    inputs += (torch.zeros(1, 7, 8, 2, 4),)
    papers, exact = (our_count(DeformablePoints(), *inputs, protocol=rule) for rule in (FVCORE, EXACT))
    assert (papers.total, papers.by_operator, papers.uncounted) == (0, {"ms_deform_attn": 0}, {})
    assert exact.by_operator == {"ms_deform_attn": 5 * 7 * 8 * 2 * 4 * 32}


class Aggregation(nn.Module):
    def __init__(self):
        super().__init__()
        self.h = nn.Linear(16, 16)

    def forward(self, attention, positions):
        return self.h(attention @ positions)


def test_a_released_product_and_sum_counts_nothing_but_the_layers_around_it_do():
    released = Protocol(name="test", inside={(Aggregation,): dict.fromkeys(PRODUCTS, "a sum")})
    inputs = torch.zeros(3, 50), torch.zeros(50, 16)
    counted = our_count(Aggregation(), *inputs, protocol=released)
    assert counted.by_operator == {"linear": 3 * 16 * 16, "matmul": 0}
    assert our_count(Aggregation(), *inputs, protocol=EXACT).total == 3 * 16 * 16 + 3 * 50 * 16


class Weighting(nn.Module):
    """A weighted sum of vectors, in one of the ways to write it."""

    def __init__(self, form):
        super().__init__()
        self.form = form

    def forward(self, a, b):
        return self.form(a, b)


@pytest.mark.parametrize("form", [
    torch.matmul,
    lambda a, b: torch.mm(a, b),
    lambda a, b: torch.mv(a, b[:, 0]),
    lambda a, b: torch.bmm(a[None], b[None]),
    lambda a, b: torch.baddbmm(a.new_zeros(1, 3, 7), a[None], b[None]),
    lambda a, b: torch.einsum("qn,nc->qc", a, b),
])  # fmt: skip
def test_every_product_of_such_a_module_counts_nothing(form):
    inputs = torch.zeros(3, 5), torch.zeros(5, 7)
    assert our_count(Weighting(form), *inputs, protocol=EXACT).total in (3 * 5, 3 * 5 * 7)
    released = Protocol(name="test", inside={(Weighting,): dict.fromkeys(PRODUCTS, "a sum")})
    assert our_count(Weighting(form), *inputs, protocol=released).total == 0


class Unseen(nn.Module):
    """What the papers' tool had no handle for."""

    def forward(self, x):
        wide = F.interpolate(x[None, None], size=(6, 10), mode="bicubic", align_corners=False)
        long = F.interpolate(x[None], size=9, mode="linear", align_corners=False)
        return wide.sum() + long.sum() + torch.mv(x, x[0]).sum() + torch.dot(x[0], x[1])


def test_what_the_papers_tool_had_no_handle_for_counts_in_exact_only():
    papers, exact = (our_count(Unseen(), torch.zeros(3, 5), protocol=rule) for rule in (FVCORE, EXACT))
    expected = {"upsample_bicubic2d": 16 * 60, "upsample_linear1d": 2 * 27, "mv": 3 * 5, "dot": 5}
    assert exact.by_operator == expected
    assert papers.by_operator == dict.fromkeys(expected, 0)
    assert exact.uncounted == papers.uncounted == {}
    assert fvcore_count(Unseen(), torch.zeros(3, 5)) == (0, {})


class Singular(nn.Module):
    def forward(self, x):
        torch.fft.fft(x)  # not needed, so not listed
        return torch.linalg.svd(x)[0] @ x


@pytest.mark.parametrize("protocol", [FVCORE, EXACT], ids=lambda p: p.name)
def test_an_operator_without_a_formula_is_listed(protocol):
    found = our_count(Singular(), torch.zeros(5, 5), protocol=protocol)
    assert found.uncounted == {"aten::_linalg_svd": 1}
    assert found.by_operator == {"matmul": 125}


def test_an_operator_made_of_known_ones_is_counted_as_those():
    class Composite(nn.Module):
        def forward(self, x):
            return torch.einsum("ab,bc,cd->ad", x, x, x) + torch.tensordot(x, x, dims=1)

    found = our_count(Composite(), torch.zeros(6, 6), protocol=EXACT)
    assert found.total == 3 * 6**3
    assert found.uncounted == {}


def test_einsum_is_rounded_as_numpy_prints_it():
    masks = 100 * 256 * 128 * 128
    assert as_numpy_prints(masks, "bqc,bchw->bqhw") == 419_450_000 != masks
    assert as_numpy_prints(masks, "nct, ncp -> ntp") == masks
    assert FVCORE.einsum_as_printed and not EXACT.einsum_as_printed


class Outer(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(4, 6))
        self.other = nn.Linear(6, 2)

    def forward(self, x):
        return self.other(self.inner(x))


def test_a_place_is_modules_one_inside_the_other():
    x = torch.zeros(5, 4)
    once = our_count(Outer(), x, protocol=EXACT).total
    assert once == 5 * 4 * 6 + 5 * 6 * 2
    twice = Protocol(name="test", repeated={(Outer, nn.Sequential): 2})
    assert our_count(Outer(), x, protocol=twice).total == once + 5 * 4 * 6
    swapped = Protocol(name="test", repeated={(nn.Sequential, Outer): 2})
    assert our_count(Outer(), x, protocol=swapped).total == once
    hidden = Protocol(name="test", inside={(Outer, nn.Sequential, nn.Linear): {"linear": "why not"}})
    assert our_count(Outer(), x, protocol=hidden).total == 5 * 6 * 2
    assert hidden.why_nothing("linear") == "why not"


def test_einsums_of_predictions_computed_at_once_are_rounded_once():
    class Layers(nn.Module):
        def forward(self, x, y):
            return [torch.einsum("bqc,bcp->bqp", x + i, y) for i in range(6)], torch.einsum(
                "bqc,bcp->bp", x, y
            )

    def run(recorder):
        return Layers()(
            torch.empty(1, 100, 256, device="meta"), torch.empty(1, 256, 128 * 128, device="meta")
        )

    each, macs = 419_450_000, 100 * 256 * 128 * 128
    tape = record(run)
    counts = [FVCORE.count(entry) for entry in tape.live() if entry.cost.macs]
    assert counts == [each] * 6 + [each]
    counts = [FVCORE.count(entry) for entry in stacked(tape.live()) if entry.cost.macs]
    assert counts == [2_516_500_000, each] and 6 * macs == 2_516_582_400
