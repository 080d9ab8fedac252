"""Backbones: image [B, 3, H, W] to feature maps {"res2": stride 4, "res3": 8, "res4": 16, "res5": 32}."""

from models.backbones.base import Backbone, BackboneSpec
from models.backbones.generic import TimmBackbone, TimmSpec
from models.backbones.pvt import PVTv2, PVTv2Spec
from models.backbones.resnet import ResNet, ResNetSpec
from models.backbones.swin import SwinSpec, SwinTransformer

__all__ = [
    "Backbone",
    "BackboneSpec",
    "PVTv2",
    "PVTv2Spec",
    "ResNet",
    "ResNetSpec",
    "SwinSpec",
    "SwinTransformer",
    "TimmBackbone",
    "TimmSpec",
]
