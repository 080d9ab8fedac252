"""fvcore as the papers' tool ran it, on real CPU tensors: the oracle for our counts on `meta`."""

import math
import warnings

import torch
from fvcore.nn import FlopCountAnalysis
from torch import Tensor, nn

from bench.protocol.rules import FVCORE, Protocol
from bench.protocol.summary import FlopCount, summarise
from bench.protocol.tape import record


def fvcore_count(module: nn.Module, *inputs: Tensor) -> tuple[int, dict[str, int]]:
    """Total and count by operator; with `baddbmm`, a `bmm` to torch <= 1.11 even under an attention mask."""
    analysis = FlopCountAnalysis(module.eval(), inputs)
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
    analysis.set_op_handle("aten::baddbmm", _baddbmm)
    analysis.set_op_handle("aten::scaled_dot_product_attention", _attention)
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            by_operator = {name: int(count) for name, count in analysis.by_operator().items() if count}
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    return sum(by_operator.values()), by_operator


def our_count(module: nn.Module, *inputs: Tensor, protocol: Protocol = FVCORE) -> FlopCount:
    """Ours, of the same module and inputs moved to `meta`."""
    model = module.eval().to("meta")
    images = [tensor.to("meta") for tensor in inputs]

    def run(recorder):
        with recorder.following(model):
            return model(*images)

    return summarise(protocol.seen(record(run)), protocol, (0, 0))


def _baddbmm(inputs, outputs):
    left, right = (value.type().sizes() for value in inputs[1:3])
    return math.prod(left) * right[-1]


def _attention(inputs, outputs):
    query, key, value = (value.type().sizes() for value in inputs[:3])
    return math.prod(query[:-1]) * key[-2] * (query[-1] + value[-1])
