"""The modules of Segmenter's authors, from a checkout of their repository (github.com/rstrudel/segmenter).

Its folder is in SAMJAX_SEGMENTER_CHECKOUT. What they import and do not need for what is compared is put in its place.
"""

import contextlib
import importlib
import os
import sys
import types
from collections.abc import Iterator

import torch

from samjax.models.dense_prediction.dense_model import DenseConfig
from samjax.models.heads.mask_transformer import MaskTransformerConfig

VARIABLE = "SAMJAX_SEGMENTER_CHECKOUT"
CLASSIFIER = 1000
"""Classes of the unused head of its encoder."""


def _module(name: str, **contents) -> None:
    module = types.ModuleType(name)
    module.__dict__.update(contents)
    sys.modules[name] = module


@contextlib.contextmanager
def checkout() -> Iterator[None]:
    """Make their package `segm` importable."""
    before = set(sys.modules)
    _module("timm")
    _module("timm.models")
    drop_path = lambda rate: torch.nn.Identity()  # noqa: E731  # nothing is trained here
    _module("timm.models.layers", DropPath=drop_path, trunc_normal_=torch.nn.init.trunc_normal_)
    _module("timm.models.vision_transformer", _load_weights=None)
    sys.path.insert(0, os.environ[VARIABLE])
    try:
        yield
    finally:
        sys.path.pop(0)
        for name in set(sys.modules) - before:
            if name.partition(".")[0] in {"segm", "timm"}:
                del sys.modules[name]


def model(config: DenseConfig) -> torch.nn.Module:
    """Return their model of our config, as their `create_segmenter` makes it; call it inside `checkout`."""
    decoders, vit, whole = (importlib.import_module(f"segm.model.{name}") for name in ("decoder", "vit", "segmenter"))
    encoder, head = config.encoder, config.head
    width, hidden = encoder.width, encoder.width * encoder.mlp_ratio
    theirs = vit.VisionTransformer(
        config.image_size,
        encoder.patch,
        encoder.depth,
        width,
        hidden,
        encoder.heads,
        CLASSIFIER,
        drop_path_rate=encoder.drop_path,
        distilled=encoder.distillation_token,
    )
    if isinstance(head, MaskTransformerConfig):
        heads = width // head.head_channels
        decoder = decoders.MaskTransformer(
            config.classes, encoder.patch, width, head.depth, heads, width, hidden, drop_path_rate=0.0, dropout=0.1
        )
    else:
        decoder = decoders.DecoderLinear(config.classes, encoder.patch, width)
    return whole.Segmenter(theirs, decoder, config.classes)
