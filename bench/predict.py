"""Semantic maps of image files, and pictures of them."""

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn

from bench.data.base import DatasetInfo, Sample
from bench.data.pairs import read_image
from bench.data.picture import contact_sheet
from bench.data.resize import from_pil
from bench.evaluate.semantic import TestSpec, predict_semantic
from bench.files import atomic_path


def predict_file(
    model: nn.Module, path: Path, out: Path, info: DatasetInfo, test: TestSpec, device: torch.device | str
) -> list[Path]:
    """Segments an image file into two files in `out`, which it returns: NAME_overlay.png, the image beside
    the class colours over it with a legend, and NAME_semantic.png, whose palette indices are class ids.

    Raises UserError for an image that cannot be read; OSError, which leaves no half-written file.
    """
    image = from_pil(read_image(path))
    semantic = predict_semantic(model, image, test, device).to(torch.uint8)
    sheet = contact_sheet(
        [Sample(image=image, semantic=semantic, name=path.name)], info, height=image.shape[1]
    )
    written = []
    for kind, picture in (("overlay", sheet), ("semantic", class_map(semantic, info))):
        target = out / f"{path.stem}_{kind}.png"
        with atomic_path(target) as temporary:
            picture.save(temporary)
        written.append(target)
    return written


def class_map(semantic: Tensor, info: DatasetInfo) -> Image.Image:
    """Class ids [H, W] as a palette image in the colours of the classes."""
    picture = Image.fromarray(semantic.numpy(), mode="P")
    picture.putpalette([channel for color in info.colors for channel in color])
    return picture
