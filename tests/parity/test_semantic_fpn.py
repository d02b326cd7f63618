"""Semantic FPN against PyTorch: logits in and outside training, gradients, running statistics; float32."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from helpers.drawn_by_key import drawn_by_key
from semantic_fpn_in_torch import SemanticFpn

from samjax.interop.tables.fpn_rows import MMSEGMENTATION, fpn_rows
from samjax.models.heads.fpn import FpnConfig, FpnHead

CHANNELS, STRIDES, CLASSES = (4, 6, 8, 10), (4, 8, 16, 32), 3
CONFIG = FpnConfig(pyramid_width=16, width=8, dropout=0.0)
SIDES = {
    "even": ((16, 24), (8, 12), (4, 6), (2, 3)),
    "odd": ((13, 19), (7, 10), (4, 5), (2, 3)),
}
"""Of maps; from odd ones, doubled maps are larger than the first."""


@pytest.mark.parametrize("name", ["odd", pytest.param("even", marks=pytest.mark.slow)])
def test_logits_gradients_and_statistics(name, agrees):
    def make(*, rngs):
        return FpnHead(
            CONFIG, channels=CHANNELS, strides=STRIDES, classes=CLASSES, dtype=jnp.dtype("float32"), rngs=rngs
        )

    head, weights = drawn_by_key(make, fpn_rows(STRIDES, prefixes={MMSEGMENTATION: ""}), {}, MMSEGMENTATION)
    theirs = SemanticFpn(CHANNELS, STRIDES, CONFIG.pyramid_width, CONFIG.width, CLASSES)
    found = theirs.load_state_dict({key: torch.tensor(array) for key, array in weights.items()}, strict=False)
    assert not found.unexpected_keys
    assert all(key.endswith("num_batches_tracked") for key in found.missing_keys)

    draw = np.random.default_rng(1)
    pairs = zip(SIDES[name], CHANNELS, strict=True)
    maps = [draw.normal(size=(2, *side, channels)).astype(np.float32) for side, channels in pairs]
    inputs = [torch.from_numpy(one.transpose(0, 3, 1, 2).copy()).requires_grad_() for one in maps]
    expected = theirs.train()(inputs)
    (expected**2).sum().backward()
    graph, variables = nnx.split(head)
    variables = nnx.to_pure_dict(variables)

    @jax.jit
    def step(maps):
        def loss(maps):
            head = nnx.merge(graph, variables)
            logits = head(maps, key=jax.random.key(0)).logits
            return jnp.sum(logits**2), (logits, nnx.to_pure_dict(nnx.state(head)))

        return jax.grad(loss, has_aux=True)(maps)

    gradients, (logits, after) = step(tuple(map(jnp.asarray, maps)))
    agrees(f"Semantic FPN, {name}, logits in training", logits, last(expected))
    for level, (gradient, one) in enumerate(zip(gradients, inputs, strict=True)):
        agrees(f"Semantic FPN, {name}, gradient of map {level}", gradient, last(one.grad))
    variance = theirs.decode_head.scale_heads[3][4].bn.running_var
    ours = after["levels"][3]["steps"][2]["norm"]["variance"]
    agrees(f"Semantic FPN, {name}, running variance", ours, variance.numpy())
    with torch.no_grad():
        expected = theirs.eval()(inputs)
    found = jax.jit(lambda maps: nnx.merge(graph, after)(maps).logits)(tuple(map(jnp.asarray, maps)))
    agrees(f"Semantic FPN, {name}, logits", found, last(expected))


def last(image: torch.Tensor) -> np.ndarray:
    return image.detach().numpy().transpose(0, 2, 3, 1)
