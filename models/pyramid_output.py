"""What the Pyramid Fusion Transformer returns: predictions over all scales, of each scale, and attention."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from models.outputs import SegmentationOutput


@dataclass
class PyramidOutput(SegmentationOutput):
    """Predictions of a PFT of S scales after one layer (or of its input queries).

    With a query for each class, `class_logits` is [B, K] and `mask_logits` [B, K, h, w], both averaged over
    the scales (PFT, eq. 4 and 5). With a set of queries, matched bipartitely, they are those of all scales
    one after the other, [B, S * Q, K + 1] and [B, S * Q, h, w].

    Attributes:
        scales: those of each scale before that, coarse to fine: [B, K] and [B, K, h, w], or [B, Q, K + 1] and
            [B, Q, h, w]. The papers' FLOP count reaches their `mask_logits` and the `class_logits` above.
        attention: of each scale s, coarse to fine, what the softmax of the layer's cross-attention is taken
            of, averaged over the heads: [B, Q, H_s, W_s] (eq. 7). In training only, not of the input queries.
    """

    scales: list[SegmentationOutput] = field(default_factory=list)
    attention: list[Tensor] = field(default_factory=list)


torch.export.register_dataclass(PyramidOutput)
