"""Content queries X_0, before the first block (Mask2Former, section 3.2.3, Tables 4b and Xb)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from models.spec import Spec


@dataclass(frozen=True, kw_only=True)
class ContentSpec(Spec):
    """Base of the content queries' specs."""

    def build(self, num_queries: int, dim: int) -> nn.Module:
        """A module whose `weight` is [Q, C]."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class LearnableContentSpec(ContentSpec):
    """Learned, as in Mask2Former."""

    part: ClassVar[str] = "learnable"

    def build(self, num_queries: int, dim: int) -> nn.Module:
        return nn.Embedding(num_queries, dim)


@dataclass(frozen=True, kw_only=True)
class ZeroContentSpec(ContentSpec):
    """Zeros, as in DETR: only their positions tell the queries apart."""

    part: ClassVar[str] = "zero"

    def build(self, num_queries: int, dim: int) -> nn.Module:
        return ZeroContent(num_queries, dim)


class ZeroContent(nn.Module):
    """No parameters; `weight` is not saved."""

    def __init__(self, num_queries: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(num_queries, dim), persistent=False)
