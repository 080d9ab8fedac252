"""Cross-attention maps of a model while it runs: forward hooks, which change nothing in it."""

from __future__ import annotations

import inspect
from typing import Any, Literal, Self

from torch import Tensor, nn

from bench.errors import UserError
from models.attention.memory import MemoryAttention
from models.attention.multihead import MultiheadAttention
from models.inference import Size

Average = Literal["weights", "logits"]
"""Of the heads: the mean of their weights, or the softmax of their mean logits (PFT, eq. 7)."""

STRIDES = (64, 32, 16, 8, 4)


class AttentionMaps:
    """Records, inside a `with`, the cross-attention of every layer that attends to all pixels of a level.

    The scores are computed a second time for it. Masked attention's are those under the mask, as they weigh
    the pixels. Layers without such a map (HRCA's, which chooses pixels; several levels joined) are left out.
    """

    def __init__(self, model: nn.Module, average: Average = "weights") -> None:
        self.model, self.average = model, average
        self._found: list[Tensor] = []
        self._handles: list[Any] = []

    def __enter__(self) -> Self:
        for module in self.model.modules():
            if isinstance(module, MemoryAttention) and isinstance(module.attention, MultiheadAttention):
                self._handles.append(module.attention.register_forward_hook(self._keep, with_kwargs=True))
        return self

    def __exit__(self, *raised: object) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def _keep(self, module: MultiheadAttention, args: tuple, kwargs: dict, output: Any) -> None:
        call = inspect.signature(module.forward).bind(*args, **kwargs)
        call.arguments["scores"] = "masked" if self.average == "weights" else "logits"
        scores = module.forward(*call.args, **call.kwargs)[1]
        self._found.append(scores.float() if self.average == "weights" else scores.float().softmax(-1))

    def last(self, padded: Size) -> dict[int, Tensor]:
        """The last map at each stride, [B, Q, H / stride, W / stride], of the images [B, 3, *padded] that the
        model saw last; the weights of a query sum to 1. Coarse to fine.

        Raises UserError for a model without such maps.
        """
        maps = {}
        for scores in self._found:
            for stride in STRIDES:
                size = -(-padded[0] // stride), -(-padded[1] // stride)
                if scores.shape[-1] == size[0] * size[1]:
                    maps[stride] = scores.unflatten(-1, size)
        self._found.clear()
        if not maps:
            raise UserError(f"{type(self.model).__name__} has no cross-attention to all pixels of a level")
        return dict(sorted(maps.items(), reverse=True))
