"""Prediction heads of mask classification."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.outputs import SegmentationOutput


class MLP(nn.Module):
    """Linear layers with ReLU between them: [..., C_in] -> [..., C_out]."""

    def __init__(self, dim_in: int, hidden: int, dim_out: int, layers: int) -> None:
        super().__init__()
        sizes = [dim_in, *[hidden] * (layers - 1), dim_out]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes, sizes[1:], strict=False))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x)


class MaskHead(nn.Module):
    """Class and mask of each query (Mask2Former, 3.1): a linear layer, and an MLP's dot with the pixels.

    Without `norm` the queries come normalised.
    """

    def __init__(self, dim: int, mask_dim: int, num_classes: int, norm: bool = True) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim) if norm else nn.Identity()
        self.classes = nn.Linear(dim, num_classes + 1)
        self.mask_embedding = MLP(dim, dim, mask_dim, 3)

    def forward(self, queries: Tensor, mask_features: Tensor) -> SegmentationOutput:
        """Queries [B, Q, C] and mask features [B, C_m, h, w] to logits [B, Q, K + 1] and [B, Q, h, w]."""
        queries = self.norm(queries)
        masks = torch.einsum("bqc,bchw->bqhw", self.mask_embedding(queries), mask_features)
        return SegmentationOutput(self.classes(queries), masks)
