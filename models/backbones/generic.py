"""Any convolutional timm network with feature maps at strides 4, 8, 16 and 32."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import timm
import torch
from timm.layers import freeze_batch_norm_2d
from torch import Tensor, nn

from models.backbones.base import LEVELS, Backbone, BackboneSpec
from models.backbones.weights import assign
from models.official import CheckpointError, read_state_dict
from models.spec import SpecError

STRIDES = (4, 8, 16, 32)
IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)


@dataclass(frozen=True, kw_only=True)
class TimmSpec(BackboneSpec):
    """A timm network by name, e.g. resnet18 or tf_efficientnet_lite0."""

    part: ClassVar[str] = "timm"

    name: str = "resnet18"
    norm: Literal["batch", "frozen"] = "batch"
    """Train BatchNorm as the network defines it, or fix statistics and affine terms."""
    frozen: bool = False
    """Nothing of the network learns; "norm" is then to be "frozen", too."""
    pairing: Literal["name", "order"] = "name"
    """How tensors of `weights` find their place: by timm's names, or one after another (for files of the same
    network under other names; every shape must agree)."""
    input_mean: tuple[float, float, float] | None = None
    """The normalisation that `weights` were trained with, in 0..255, with `input_std`. Images arrive
    normalised with the ImageNet mean and standard deviation of Mask2Former and are converted. None: nothing
    is converted."""
    input_std: tuple[float, float, float] | None = None

    def build(self) -> TimmBackbone:
        if (self.input_mean is None) != (self.input_std is None):
            raise SpecError("input_mean and input_std belong together: set both or neither")
        if self.frozen and self.norm != "frozen":
            raise SpecError('a frozen network still moves its statistics: set norm = "frozen", too')
        if not timm.is_model(self.name):
            raise SpecError(f"timm {timm.__version__} has no network {self.name!r}")
        backbone = TimmBackbone(self.name, self.input_mean, self.input_std)
        if self.weights and not next(backbone.parameters()).is_meta:
            load_timm(backbone.network, self.name, self.weights, self.pairing)
        if self.norm == "frozen":
            freeze_batch_norm_2d(backbone.network)
        return backbone.requires_grad_(not self.frozen)


class TimmBackbone(Backbone):
    """timm's `features_only` network, its maps by our names; its parameters are under "network."."""

    def __init__(
        self,
        name: str,
        input_mean: tuple[float, float, float] | None = None,
        input_std: tuple[float, float, float] | None = None,
    ) -> None:
        super().__init__()
        with torch.device("meta"):
            strides = timm.create_model(name, features_only=True).feature_info.reduction()
        if missing := [stride for stride in STRIDES if stride not in strides]:
            raise SpecError(f"{name} has no feature map of stride {missing[0]} (its strides: {strides})")
        indices = tuple(strides.index(stride) for stride in STRIDES)
        self.network = timm.create_model(name, features_only=True, out_indices=indices)
        self.channels = dict(zip(LEVELS, self.network.feature_info.channels(), strict=True))
        self.convert = input_mean is not None and input_std is not None
        if input_mean is not None and input_std is not None:
            scale = [ours / theirs for ours, theirs in zip(IMAGENET_STD, input_std, strict=True)]
            both = zip(IMAGENET_MEAN, input_mean, input_std, strict=True)
            shift = [(ours - theirs) / std for ours, theirs, std in both]
            self.register_buffer("input_scale", torch.tensor(scale).view(3, 1, 1), persistent=False)
            self.register_buffer("input_shift", torch.tensor(shift).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        if self.convert:
            images = images * self.input_scale + self.input_shift
        return dict(zip(LEVELS, self.network(images), strict=True))


def load_timm(network: nn.Module, name: str, path: str, pairing: str) -> None:
    """Loads a file of the whole network `name` into its `features_only` form.

    Every tensor of the file must be one of the whole network's, the classifier's number of classes aside.

    Raises:
        CheckpointError: the file is of another network.
    """
    with torch.device("meta"):
        whole = timm.create_model(name)
    classifier = tuple(f"{part}." for part in _names(whole.default_cfg.get("classifier")))
    expected = whole.state_dict()
    state = read_state_dict(path)
    if pairing == "order":
        shapes = [tensor.shape for tensor in expected.values()]
        if shapes != [tensor.shape for tensor in state.values()]:
            count = f"its {len(state)} tensors do not pair in order with the {len(shapes)} of {name}"
            raise CheckpointError(f"{path}: {count}")
        state = dict(zip(expected, state.values(), strict=True))
    if foreign := [key for key in state if key not in expected and not key.startswith(classifier)]:
        raise CheckpointError(f"{path} is not of {name}: it also has {', '.join(foreign[:4])}")
    own = network.state_dict()
    by_whole_name = {_whole_name(key, expected): key for key in own}
    assign(network, {by_whole_name[key]: state[key] for key in state if key in by_whole_name}, path)


def _whole_name(key: str, expected: dict[str, Tensor]) -> str:
    """timm flattens stages ("stages.0" becomes "stages_0") when it cuts a network for its features."""
    head, _, rest = key.partition(".")
    dotted = ".".join(head.rsplit("_", 1)) + f".{rest}"
    return key if key in expected or dotted not in expected else dotted


def _names(classifier: str | tuple[str, ...] | None) -> tuple[str, ...]:
    if classifier is None:
        return ()
    return (classifier,) if isinstance(classifier, str) else tuple(classifier)
