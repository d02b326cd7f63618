"""Swin transformers against transformers' backbone: every map of any size, float32."""

import copy

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from transformers import SwinBackbone
from transformers import SwinConfig as TheirConfig

from samjax.core.tree import nest
from samjax.interop.mapping import Naming, arrays_from_torch, write_out
from samjax.interop.tables.swin_rows import TRANSFORMERS, swin_rows, swin_slots
from samjax.models.swin.swin import Swin, SwinConfig
from samjax.nn.structure import array_shapes, model_with

SMALL = SwinConfig(width=8, depths=(2, 2, 4, 2), heads=(1, 2, 4, 8), window=4)


def make(*, rngs) -> Swin:
    return Swin(SMALL, dtype=jnp.dtype("float32"), rngs=rngs)


@pytest.fixture(scope="module")
def theirs():
    """Transformers' backbone of our sizes, with drawn weights."""
    model = SwinBackbone(
        TheirConfig(
            embed_dim=SMALL.width,
            depths=list(SMALL.depths),
            num_heads=list(SMALL.heads),
            window_size=SMALL.window,
            drop_path_rate=0.0,
            out_features=[f"stage{stage}" for stage in range(1, 5)],
        )
    )
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for key, weight in model.named_parameters():
            noise = torch.randn(weight.shape, generator=generator)
            weight.copy_(0.2 * noise + ("norm" in key and key.endswith("weight")))
    return model.eval()


def saved(model: SwinBackbone, folder) -> dict[str, np.ndarray]:
    """Return what transformers writes of it, without the norm that it does not use."""
    model.save_pretrained(folder)
    found = load_file(folder / "model.safetensors")
    return {key: array for key, array in found.items() if not key.startswith("swin.layernorm")}


@pytest.fixture(scope="module")
def arrays(theirs, tmp_path_factory):
    return saved(theirs, tmp_path_factory.mktemp("swin"))


def ours(arrays, layout: str) -> Swin:
    table = write_out(
        swin_rows(SMALL, prefixes={layout: ""}), swin_slots(SMALL), Naming(name=layout, title="", signs=())
    )
    return model_with(make, params=nest(arrays_from_torch(table, arrays, array_shapes(make))), buffers={})


@pytest.mark.parametrize(
    "sides",
    [
        pytest.param((128, 128), id="whole windows"),
        pytest.param(
            (101, 75), id="odd"
        ),  # 26 x 19 tokens, 13 x 10, 7 x 5, 4 x 3: padded everywhere, and under a window
    ],
)
def test_every_map(theirs, arrays, sides, agrees):
    image = np.random.default_rng(1).normal(size=(2, *sides, 3)).astype(np.float32)
    with torch.no_grad():
        expected = theirs(torch.from_numpy(image.transpose(0, 3, 1, 2))).feature_maps
    maps = jax.jit(lambda model, image: model(image))(ours(arrays, TRANSFORMERS), image)
    for stage, (our, their) in enumerate(zip(maps, expected, strict=True)):
        agrees(f"swin {sides}, stage {stage}", our, np.asarray(their.permute(0, 2, 3, 1)), 1e-5)


def test_gradients(theirs, arrays, agrees, tmp_path):
    """Of every parameter, by a sum over all maps with drawn weights."""
    generator = np.random.default_rng(2)
    image = generator.normal(size=(1, 61, 90, 3)).astype(np.float32)
    theirs.zero_grad()
    maps = theirs(torch.from_numpy(image.transpose(0, 3, 1, 2))).feature_maps
    weights = [generator.normal(size=one.shape).astype(np.float32) for one in maps]
    sum((one * torch.from_numpy(weight)).sum() for one, weight in zip(maps, weights, strict=True)).backward()
    model = ours(arrays, TRANSFORMERS)

    def loss(model):
        found = zip(model(jnp.asarray(image)), weights, strict=True)
        return sum((one * weight.transpose(0, 2, 3, 1)).sum() for one, weight in found)

    found = jax.jit(jax.grad(loss))(model)
    of_theirs = copy.deepcopy(theirs)
    with torch.no_grad():
        for copied, weight in zip(of_theirs.parameters(), theirs.parameters(), strict=True):
            copied.copy_(torch.zeros_like(weight) if weight.grad is None else weight.grad)
    expected = ours(saved(of_theirs, tmp_path), TRANSFORMERS)
    for our, their in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        agrees("swin, gradients", our, their, 1e-4)
