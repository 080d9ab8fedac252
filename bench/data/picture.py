"""Looking at labels: overlays and contact sheets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from bench.data.base import DatasetInfo, Sample
from bench.data.resize import from_pil, resize_image, resize_labels, to_pil

_MARGIN, _LINE, _SWATCH = 6, 16, 12
_PAPER, _INK = (255, 255, 255), (20, 20, 20)


def overlay(
    image: Tensor,
    semantic: Tensor,
    info: DatasetInfo,
    *,
    opacity: float = 0.6,
    instances: Tensor | None = None,
) -> Tensor:
    """uint8 [3,H,W]: the class colours of semantic [H,W] over the image [3,H,W] in grey, with dark outlines
    between regions (and between objects, if `instances` [H,W] is given). Ignored pixels keep their colour."""
    palette = torch.zeros(256, 3)
    palette[: info.num_classes] = torch.tensor(info.colors, dtype=torch.float32)
    labels = semantic.long()
    grey = (image.float() * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(0)
    mixed = grey * (1 - opacity) + palette[labels].permute(2, 0, 1) * opacity
    mixed = torch.where(labels == info.ignore_index, image.float(), mixed)
    edges = _edges(labels) if instances is None else _edges(labels) | _edges(instances)
    return torch.where(edges, mixed * 0.35, mixed).round().to(torch.uint8)


def contact_sheet(
    samples: Sequence[Sample], info: DatasetInfo, *, height: int = 256, columns: int = 3
) -> Image.Image:
    """Each sample as image and overlay side by side, `height` pixels high, `columns` samples a row; below,
    the colours of the classes that occur. Objects are outlined, crowds are hatched."""
    samples = [painted(sample) for sample in samples]
    tiles = [_tile(sample, info, height) for sample in samples]
    columns = min(columns, len(tiles))
    widths = [max(tile.width for tile in tiles[column::columns]) + _MARGIN for column in range(columns)]
    rows = -(-len(tiles) // columns)
    present = sorted({int(c) for sample in samples for c in sample.semantic.unique()} - {info.ignore_index})
    total = sum(widths) + _MARGIN
    legend = _legend([(info.classes[c], info.colors[c]) for c in present], total)
    cell = height + _LINE + _MARGIN
    sheet = Image.new("RGB", (total, rows * cell + _MARGIN + legend.height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for i, (sample, tile) in enumerate(zip(samples, tiles, strict=True)):
        left, top = _MARGIN + sum(widths[: i % columns]), _MARGIN + (i // columns) * cell
        sheet.paste(tile, (left, top))
        draw.text((left, top + height + 2), sample.name, fill=_INK, font=ImageFont.load_default())
    sheet.paste(legend, (0, rows * cell + _MARGIN))
    return sheet


def painted(sample: Sample) -> Sample:
    """A sample of objects that may overlap as one with label maps, small objects over large ones."""
    if sample.objects is None:
        return sample
    found = sample.objects
    semantic, instances = sample.semantic.clone(), torch.zeros(sample.size, dtype=torch.int32)
    order = found.masks.flatten(1).sum(1).argsort(descending=True, stable=True).tolist()
    for index in order:
        semantic[found.masks[index]] = found.labels[index].to(torch.uint8)
        instances[found.masks[index]] = index + 1
    crowd = frozenset((found.crowd.nonzero().flatten() + 1).tolist())
    return replace(sample, semantic=semantic, instances=instances, crowd=crowd)


def _tile(sample: Sample, info: DatasetInfo, height: int) -> Image.Image:
    h, w = sample.size
    size = (height, max(round(w * height / h), 1))
    image = resize_image(to_pil(sample.image), size)
    semantic = from_pil(resize_labels(to_pil(sample.semantic), size))
    instances = None
    if sample.instances is not None:
        numbers = Image.fromarray(sample.instances.to(torch.int32).numpy())
        instances = from_pil(resize_labels(numbers, size))
        hatch = torch.arange(size[0])[:, None] + torch.arange(size[1]) & 4 > 0
        crowd = torch.isin(instances, torch.tensor(sorted(sample.crowd), dtype=instances.dtype))
        semantic = torch.where(crowd & hatch, info.ignore_index, semantic)
    labelled = to_pil(overlay(from_pil(image), semantic, info, instances=instances))
    tile = Image.new("RGB", (2 * size[1], height))
    tile.paste(image, (0, 0))
    tile.paste(labelled, (size[1], 0))
    return tile


def _edges(labels: Tensor) -> Tensor:
    """bool [H,W]: pixels that differ from the next one to the right or below."""
    edges = torch.zeros_like(labels, dtype=torch.bool)
    edges[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    edges[:-1] |= labels[:-1] != labels[1:]
    return edges


def _legend(entries: list[tuple[str, tuple[int, int, int]]], width: int) -> Image.Image:
    font = ImageFont.load_default()
    cell = max((int(font.getlength(name)) for name, _ in entries), default=0) + _SWATCH + 3 * _MARGIN
    across = max(width // cell, 1)
    rows = int(np.ceil(len(entries) / across))
    legend = Image.new("RGB", (width, rows * _LINE + 2 * _MARGIN), _PAPER)
    draw = ImageDraw.Draw(legend)
    for i, (name, color) in enumerate(entries):
        left, top = _MARGIN + (i % across) * cell, _MARGIN + (i // across) * _LINE
        draw.rectangle((left, top, left + _SWATCH, top + _SWATCH - 2), fill=color, outline=_INK)
        draw.text((left + _SWATCH + _MARGIN, top), name, fill=_INK, font=font)
    return legend
