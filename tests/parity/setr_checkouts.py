"""SETR as its authors and mmsegmentation build it, from checkouts of github.com/fudan-zvg/SETR and of mmsegmentation.

SAMJAX_SETR_CHECKOUT names the first's folder; SAMJAX_MMSEGMENTATION_CHECKOUT a folder that holds the packages mmseg,
mmcv (the light one), mmengine and what these import. What they import and do not need is put in its place.
"""

import collections.abc
import contextlib
import importlib
import os
import runpy
import sys
import types
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

AUTHORS_VARIABLE, MMSEGMENTATION_VARIABLE = "SAMJAX_SETR_CHECKOUT", "SAMJAX_MMSEGMENTATION_CHECKOUT"
_TOP = {"mmseg", "mmcv", "mmengine"}


class Anything:
    """In place of a class that nothing here makes."""


class Registry:
    """In place of theirs: it registers nothing."""

    def register_module(self):
        return lambda cls: cls


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Forget afterwards what was imported: both checkouts have a package of the same name."""
    before = dict(sys.modules)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name in set(sys.modules) - set(before):
            if name.partition(".")[0] in _TOP or name == "torch._six":
                del sys.modules[name]


def _module(name: str, **contents) -> None:
    module = types.ModuleType(name)
    module.__dict__.update(contents)
    sys.modules[name] = module


@contextlib.contextmanager
def authors() -> Iterator[None]:
    """Make their modules importable, without the packages' own imports of everything."""
    root = Path(os.environ[AUTHORS_VARIABLE]) / "mmseg"

    def same(*_, **__):
        return lambda function: function

    with _alone():
        for name in ("", ".models", ".models.backbones", ".models.decode_heads"):
            _module(f"mmseg{name}", __path__=[str(root.joinpath(*name.split(".")))])
        _module("torch._six", container_abcs=collections.abc)
        _module("mmseg.models.builder", BACKBONES=Registry(), HEADS=Registry(), build_loss=lambda config: None)
        _module("mmseg.models.losses", accuracy=None)
        _module("mmseg.core", build_pixel_sampler=None)
        _module("mmseg.ops", resize=None)
        _module("mmcv")
        _module("mmcv.cnn", build_norm_layer=lambda _, width: ("bn", torch.nn.BatchNorm2d(width)), normal_init=None)
        _module("mmcv.runner", auto_fp16=same, force_fp32=same)
        yield


@contextlib.contextmanager
def mmsegmentation() -> Iterator[None]:
    """Make mmsegmentation importable without mmcv's compiled part."""

    def anything(name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return Anything

    sys.path.insert(0, os.environ[MMSEGMENTATION_VARIABLE])
    try:
        with _alone():
            _module("mmcv.ops", __getattr__=anything)
            importlib.import_module("mmseg.models")
            yield
    finally:
        sys.path.pop(0)


class Model(torch.nn.Module):
    """A backbone, heads and perhaps a neck, under the names that the files have."""

    def __init__(self, backbone, neck, head, auxiliary):
        super().__init__()
        self.backbone, self.decode_head, self.auxiliary_head = backbone, head, torch.nn.ModuleList(auxiliary)
        if neck is not None:
            self.neck = neck

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        """Return logits and auxiliary ones at the photo's size."""
        maps = self.backbone(image)
        maps = self.neck(maps) if hasattr(self, "neck") else maps
        found = [head(maps) for head in (self.decode_head, *self.auxiliary_head)]
        return [torch.nn.functional.interpolate(one, image.shape[2:], mode="bilinear") for one in found]


def authors_config(name: str) -> dict[str, Any]:
    """Return the model of one of their configs, such as `SETR_PUP_512x512_160k_ade20k_bs_16`."""
    folder = Path(os.environ[AUTHORS_VARIABLE]) / "configs"
    own = runpy.run_path(str(folder / "SETR" / f"{name}.py"))
    base = runpy.run_path(str(folder / "SETR" / own["_base_"][0]))["model"]
    return _merged(base, own["model"])


def _merged(base: Any, over: Any) -> Any:
    if not isinstance(base, dict) or not isinstance(over, dict):
        return over
    return base | {key: _merged(base[key], value) if key in base else value for key, value in over.items()}


def authors_model(config: dict[str, Any]) -> Model:
    """Return their model of a config; call it inside `authors`."""

    def made(part: dict[str, Any], folder: str, files: dict[str, str]) -> torch.nn.Module:
        part = dict(part)
        kind = part.pop("type")
        return getattr(importlib.import_module(f"mmseg.models.{folder}.{files[kind]}"), kind)(**part)

    heads = {
        "VisionTransformerUpHead": "vit_up_head",
        "VIT_MLAHead": "vit_mla_head",
        "VIT_MLA_AUXIHead": "vit_mla_auxi_head",
    }
    backbone = made(config["backbone"], "backbones", {"VisionTransformer": "vit", "VIT_MLA": "vit_mla"})
    main, *auxiliary = (made(one, "decode_heads", heads) for one in (config["decode_head"], *config["auxiliary_head"]))
    return Model(backbone, None, main, auxiliary)


def mmsegmentation_config(name: str) -> dict[str, Any]:
    """Return the model of one of its configs, such as `setr_vit-l_pup_8xb2-160k_ade20k-512x512`."""
    config = importlib.import_module("mmengine").Config
    folder = Path(os.environ[MMSEGMENTATION_VARIABLE]) / "mmseg" / ".mim" / "configs" / "setr"
    return config.fromfile(folder / f"{name}.py").model.to_dict()


def mmsegmentation_model(config: dict[str, Any]) -> Model:
    """Return its model of a config; call it inside `mmsegmentation`."""
    models = importlib.import_module("mmseg.registry").MODELS
    neck = models.build(config["neck"]) if "neck" in config else None
    auxiliary = [models.build(one) for one in config["auxiliary_head"]]
    return Model(models.build(config["backbone"]), neck, models.build(config["decode_head"]), auxiliary)
