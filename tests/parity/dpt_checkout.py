"""DPT as its authors build it, from a checkout of github.com/isl-org/DPT and the package timm.

SAMJAX_DPT_CHECKOUT names the first's folder; SAMJAX_TIMM_CHECKOUT a folder that holds the package timm, such as
`pip install --no-deps --target FOLDER timm==1.0.15` makes. What timm imports of torchvision is put in its place.
"""

import contextlib
import functools
import importlib
import os
import sys
import types
import warnings
from collections.abc import Iterator

import torch

from samjax.models.dense_prediction.dense_model import DenseConfig
from samjax.models.heads.dpt import DptDepthConfig

VARIABLES = ("SAMJAX_DPT_CHECKOUT", "SAMJAX_TIMM_CHECKOUT")
_TOP = {"dpt", "timm", "torchvision"}
_TORCHVISION = (
    *("torchvision", "torchvision.ops", "torchvision.ops.misc", "torchvision.datasets", "torchvision.transforms"),
    *("torchvision.transforms.functional", "torchvision.models", "torchvision.models.feature_extraction"),
)


class _AnyName(type):
    """A class that has every attribute."""

    def __getattr__(cls, name: str) -> str:
        if name.startswith("__"):
            raise AttributeError(name)
        return name


class _Anything(types.ModuleType):
    """A module in which every name is a class that nothing here makes."""

    __path__: tuple[str, ...] = ()

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return _AnyName(name, (torch.nn.Module,) if name.startswith("Frozen") else (), {})


@contextlib.contextmanager
def authors() -> Iterator[None]:
    """Make their modules and timm importable; forget them afterwards."""
    before, path = dict(sys.modules), list(sys.path)
    sys.path[:0] = [os.environ[name] for name in VARIABLES]
    for name in _TORCHVISION:
        parent, _, child = name.rpartition(".")
        sys.modules[name] = _Anything(name)
        if parent:
            setattr(sys.modules[parent], child, sys.modules[name])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        sys.path[:] = path
        for name in set(sys.modules) - set(before):
            if name.partition(".")[0] in _TOP:
                del sys.modules[name]


def _timm_vit(config: DenseConfig, image_size: int) -> torch.nn.Module:
    """Return timm's ViT of a config's sizes, or its hybrid, whose classifier rides along as in their files."""
    vit, layers = importlib.import_module("timm.models.vision_transformer"), importlib.import_module("timm.layers")
    encoder, embedding = config.encoder, {}
    if encoder.resnet is not None:
        sizes = encoder.resnet
        resnet = importlib.import_module("timm.models.resnetv2").ResNetV2(
            layers=sizes.depths,
            channels=sizes.widths,
            stem_chs=sizes.stem,
            preact=False,
            stem_type="same",
            num_classes=0,
            global_pool="",
            conv_layer=functools.partial(layers.StdConv2dSame, eps=1e-8),
            norm_layer=functools.partial(layers.GroupNormAct, num_groups=sizes.groups),
        )
        embedding = {"embed_layer": functools.partial(layers.HybridEmbed, backbone=resnet)}
    return vit.VisionTransformer(
        img_size=image_size,
        patch_size=1 if embedding else encoder.patch,
        embed_dim=encoder.width,
        depth=encoder.depth,
        num_heads=encoder.heads,
        **embedding,
    )


def authors_model(config: DenseConfig) -> torch.nn.Module:
    """Return their model of a config's sizes; call it inside `authors`.

    Their classes make ViTs of published sizes alone: what they make it with is given another.
    """
    models, blocks, vits = (importlib.import_module(f"dpt.{name}") for name in ("models", "blocks", "vit"))
    encoder, head = config.encoder, config.head
    made = _timm_vit(config, encoder.table_size[0])
    channels = [width or given for width, given in zip(head.map_widths, encoder.channels, strict=True)]
    first = [] if encoder.resnet is None else [0, 1]

    def encoder_of(*_, use_readout: str, **__):
        make = vits._make_vit_b16_backbone if encoder.resnet is None else vits._make_vit_b_rn50_backbone
        hooks = [*first, *encoder.taps]
        pretrained = make(made, channels, list(encoder.table_size), hooks, encoder.width, use_readout=use_readout)
        return pretrained, blocks._make_scratch(channels, head.width, groups=1, expand=False)

    models._make_encoder = encoder_of
    if isinstance(head, DptDepthConfig):
        return models.DPTDepthModel(features=head.width)
    return models.DPTSegmentationModel(config.classes, features=head.width)


def published_model(size: str, task: str) -> torch.nn.Module:
    """Return their model of a published size; call it inside `authors`."""
    timm, models = importlib.import_module("timm"), importlib.import_module("dpt.models")
    names = {"vit_base_resnet50_384": "vit_base_r50_s16_384"}
    create = timm.create_model
    importlib.import_module("dpt.vit").timm = types.SimpleNamespace(
        create_model=lambda name, pretrained: create(names.get(name, name), pretrained=False)
    )
    backbone = {"large": "vitl16_384", "hybrid": "vitb_rn50_384", "base": "vitb16_384"}[size]
    if task == "depth":
        return models.DPTDepthModel(backbone=backbone)
    return models.DPTSegmentationModel(150, backbone=backbone)
