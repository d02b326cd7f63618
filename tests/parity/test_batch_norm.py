"""Batch normalisation against PyTorch's, in training and outside it."""

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx

from samjax.nn.batch_norm import BatchNorm

SCALE, BIAS = np.array([0.5, 1.0, 2.0], np.float32), np.array([0.1, 0.0, -1.0], np.float32)


def test_outputs_gradients_and_running_values(agrees):
    draw = np.random.default_rng(0)
    batches = draw.normal(3.0, 2.0, (3, 2, 4, 5, 3)).astype(np.float32)
    theirs = torch.nn.BatchNorm2d(3)
    ours = BatchNorm(3, dtype=jnp.dtype("float32"), rngs=nnx.Rngs(0))
    theirs.weight.data, theirs.bias.data = torch.from_numpy(SCALE.copy()), torch.from_numpy(BIAS.copy())
    ours.scale[...], ours.bias[...] = SCALE, BIAS
    graph, variables = nnx.split(ours)
    variables = nnx.to_pure_dict(variables)

    @jax.jit
    def step(variables, image):
        def loss(image):
            norm = nnx.merge(graph, variables)
            out = norm(image, training=True)
            return jnp.sum(out**3), (out, nnx.to_pure_dict(nnx.state(norm)))

        return jax.grad(loss, has_aux=True)(image)

    for batch in batches:
        image = torch.from_numpy(batch.transpose(0, 3, 1, 2).copy()).requires_grad_()
        expected = theirs(image)
        (expected**3).sum().backward()
        gradient, (out, variables) = step(variables, jnp.asarray(batch))
        agrees("batch norm, training", out, expected.detach().numpy().transpose(0, 2, 3, 1))
        agrees("batch norm, gradient", gradient, image.grad.numpy().transpose(0, 2, 3, 1))
    agrees("batch norm, running mean", variables["mean"], theirs.running_mean.numpy())
    agrees("batch norm, running variance", variables["variance"], theirs.running_var.numpy())
    theirs.eval()
    expected = theirs(torch.from_numpy(batches[0].transpose(0, 3, 1, 2).copy())).detach().numpy()
    found = nnx.merge(graph, variables)(jnp.asarray(batches[0]), training=False)
    agrees("batch norm, prediction", found, expected.transpose(0, 2, 3, 1))
