"""PVT v1 for segmentation against the authors' own code, photos of another size than the tables' included.

    SAMJAX_PVT_CHECKOUT=.../PVT pytest tests/parity/test_pvt_authors.py

The checkout is of github.com/whai362/PVT.
"""

import functools
import importlib.util
import os
import sys
import types
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from helpers.drawn_by_key import drawn_by_key

from samjax.interop.tables.pyramid_rows import AUTHORS, pyramid_rows, pyramid_slots
from samjax.models.pyramid.pyramid import Pyramid, PyramidConfig

VARIABLE = "SAMJAX_PVT_CHECKOUT"
pytestmark = [
    pytest.mark.skipif(VARIABLE not in os.environ, reason=f"{VARIABLE} names no checkout"),
    pytest.mark.filterwarnings("ignore"),
]
CONFIG = PyramidConfig.pvt_tiny(
    widths=(8, 16, 20, 32), heads=(1, 2, 5, 8), depths=(1, 2, 1, 1), reductions=(4, 2, 1, 1), table_size=(64, 64)
)


@pytest.fixture
def theirs(monkeypatch):
    """Their module, with what it does not need for this in its place."""

    def module(name: str, **contents):
        made = types.ModuleType(name)
        made.__dict__.update(contents)
        monkeypatch.setitem(sys.modules, name, made)

    registry = types.SimpleNamespace(register_module=lambda: lambda cls: cls)
    pair = lambda one: one if isinstance(one, tuple) else (one, one)  # noqa: E731
    for name in ("timm", "timm.models", "mmseg", "mmseg.models", "mmcv"):
        module(name)
    module("timm.models.layers", DropPath=torch.nn.Identity, to_2tuple=pair, trunc_normal_=torch.nn.init.trunc_normal_)
    module("timm.models.registry", register_model=lambda function: function)
    module("timm.models.vision_transformer", _cfg=dict)
    module("mmseg.models.builder", BACKBONES=registry)
    module("mmseg.utils", get_root_logger=None)
    module("mmcv.runner", load_checkpoint=None)
    path = Path(os.environ[VARIABLE]) / "segmentation" / "pvt.py"
    spec = importlib.util.spec_from_file_location("pvt_of_the_authors", path)
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


@pytest.mark.parametrize("sides", [(64, 64), (96, 64), (32, 160)])
def test_every_map(theirs, sides, agrees):
    reference = theirs.PyramidVisionTransformer(
        img_size=64,
        patch_size=4,
        embed_dims=list(CONFIG.widths),
        num_heads=list(CONFIG.heads),
        mlp_ratios=list(CONFIG.mlp_ratios),
        qkv_bias=True,
        norm_layer=functools.partial(torch.nn.LayerNorm, eps=1e-6),
        depths=list(CONFIG.depths),
        sr_ratios=list(CONFIG.reductions),
    ).eval()

    def make(*, rngs):
        return Pyramid(CONFIG, image_size=sides, dtype=jnp.dtype("float32"), rngs=rngs)

    rows = pyramid_rows(CONFIG, prefixes={AUTHORS: ""})
    model, weights = drawn_by_key(make, rows, pyramid_slots(CONFIG), AUTHORS)
    reference.load_state_dict({key: torch.tensor(array) for key, array in weights.items()}, strict=True)
    image = np.random.default_rng(sides).normal(size=(2, *sides, 3)).astype(np.float32)
    with torch.no_grad():
        expected = reference(torch.from_numpy(image.transpose(0, 3, 1, 2).copy()))
    maps = jax.jit(lambda model, image: model(image))(model, jnp.asarray(image))
    for stage, (ours, their) in enumerate(zip(maps, expected, strict=True)):
        agrees(f"PVT v1 {sides}, stage {stage}", ours, their.numpy().transpose(0, 2, 3, 1))
