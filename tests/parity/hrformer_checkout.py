"""The modules of HRFormer's authors, from a checkout of their repository (github.com/HRNet/HRFormer).

Its folder is in SAMJAX_HRFORMER_CHECKOUT. What they import and do not need for what is compared is put in their place.
"""

import contextlib
import importlib
import logging
import os
import sys
import types
from pathlib import Path

import torch
from torch.nn import functional

VARIABLE = "SAMJAX_HRFORMER_CHECKOUT"


class Config(dict):
    """What their configs use of yacs."""

    __getattr__ = dict.__getitem__
    __setattr__ = dict.__setitem__

    def clone(self):
        return Config({key: value.clone() if isinstance(value, Config) else value for key, value in self.items()})


def _module(name: str, **contents) -> types.ModuleType:
    module = types.ModuleType(name)
    module.__dict__.update(contents)
    return module


@contextlib.contextmanager
def checkout():
    """Make `lib` of the checkout's `seg` importable."""
    before = set(sys.modules)
    pair = lambda one: one if isinstance(one, tuple) else (one, one)  # noqa: E731
    stand_ins = [
        _module("timm"),
        _module("timm.models"),
        _module("timm.models.layers", to_2tuple=pair, trunc_normal_=torch.nn.init.trunc_normal_),
        _module("timm.models.registry", register_model=lambda function: function),
        _module("torchvision"),
        _module("torchvision.models"),
        _module("torchvision.models.utils", load_state_dict_from_url=None),
        _module("yacs"),
        _module("yacs.config", CfgNode=Config),
        _module("lib.utils.tools.logger", Logger=logging.getLogger("hrformer")),
        _module("lib.models.backbones.backbone_selector", BackboneSelector=Selector),
    ]
    missing = [one for one in stand_ins if one.__name__ not in sys.modules]
    sys.modules |= {one.__name__: one for one in missing}
    sys.path.insert(0, str(Path(os.environ[VARIABLE]) / "seg"))
    try:
        yield
    finally:
        sys.path.pop(0)
        for name in set(sys.modules) - before:
            if name.partition(".")[0] in {"lib", "timm", "torchvision", "yacs"}:
                del sys.modules[name]


class Selector:
    """In place of theirs, which imports every backbone."""

    def __init__(self, configer):
        self.name = configer.get("network", "backbone")

    def get_backbone(self):
        configs = importlib.import_module("lib.models.backbones.hrt.hrt_config").MODEL_CONFIGS
        return backbone(configs[self.name])


def backbone(config: dict) -> torch.nn.Module:
    """Return their HRFormer of their config."""
    return importlib.import_module("lib.models.backbones.hrt.hrt_backbone").HighResolutionTransformer(config)


class Ocr(torch.nn.Module):
    """Their OCR head of any widths: their nets have those of S and B alone, and a backbone inside."""

    def __init__(self, channels: int, width: int, key_width: int, auxiliary_width: int, classes: int):
        super().__init__()
        blocks = importlib.import_module("lib.models.modules.spatial_ocr_block")
        helper = importlib.import_module("lib.models.tools.module_helper").ModuleHelper
        kind = {"bn_type": "torchbn"}

        def branch(outputs: int) -> list[torch.nn.Module]:
            return [torch.nn.Conv2d(channels, outputs, 3, padding=1), helper.BNReLU(outputs, **kind)]

        self.conv3x3 = torch.nn.Sequential(*branch(width))
        self.ocr_gather_head = blocks.SpatialGather_Module(classes)
        self.ocr_distri_head = blocks.SpatialOCR_Module(width, key_width, width, dropout=0.0, **kind)
        self.cls_head = torch.nn.Conv2d(width, classes, 1)
        self.aux_head = torch.nn.Sequential(*branch(auxiliary_width), torch.nn.Conv2d(auxiliary_width, classes, 1))

    def forward(self, maps):
        size = maps[0].shape[2:]
        together = torch.cat(
            [functional.interpolate(one, size, mode="bilinear", align_corners=True) for one in maps], 1
        )
        auxiliary, pixels = self.aux_head(together), self.conv3x3(together)
        return auxiliary, self.cls_head(self.ocr_distri_head(pixels, self.ocr_gather_head(pixels, auxiliary)))
