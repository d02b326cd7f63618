"""SegFormer's head against transformers': logits, gradients and running statistics, float32."""

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx
from transformers import SegformerConfig
from transformers.models.segformer.modeling_segformer import SegformerDecodeHead

from samjax.models.heads.all_mlp import AllMlpConfig, AllMlpHead

CHANNELS, WIDTH, CLASSES = (8, 16, 20, 32), 24, 5
SIDES = ((18, 26), (9, 13), (5, 7), (3, 4))


def test_logits_gradients_and_statistics(agrees):
    theirs = SegformerDecodeHead(
        SegformerConfig(
            hidden_sizes=list(CHANNELS), decoder_hidden_size=WIDTH, num_labels=CLASSES, classifier_dropout_prob=0.0
        )
    )
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in theirs.named_parameters():
            weight.copy_(0.3 * torch.randn(weight.shape, generator=generator) + (name == "batch_norm.weight"))
    head = AllMlpHead(
        AllMlpConfig(width=WIDTH, dropout=0.0),
        channels=CHANNELS,
        classes=CLASSES,
        dtype=jnp.dtype("float32"),
        rngs=nnx.Rngs(0),
    )
    for ours, their in zip(head.project, theirs.linear_projections, strict=True):
        ours.kernel[...], ours.bias[...] = their.proj.weight.detach().numpy().T, their.proj.bias.detach().numpy()
    head.mix.kernel[...] = theirs.linear_fuse.weight.detach().numpy()[:, :, 0, 0].T
    head.norm.scale[...] = theirs.batch_norm.weight.detach().numpy()
    head.norm.bias[...] = theirs.batch_norm.bias.detach().numpy()
    head.classify.kernel[...] = theirs.classifier.weight.detach().numpy()[:, :, 0, 0].T
    head.classify.bias[...] = theirs.classifier.bias.detach().numpy()

    draw = np.random.default_rng(1)
    maps = [
        draw.normal(size=(2, *side, channels)).astype(np.float32)
        for side, channels in zip(SIDES, CHANNELS, strict=True)
    ]
    inputs = [torch.from_numpy(one.transpose(0, 3, 1, 2).copy()).requires_grad_() for one in maps]
    expected = theirs.train()(tuple(inputs))
    (expected**3).sum().backward()
    graph, variables = nnx.split(head)
    variables = nnx.to_pure_dict(variables)

    @jax.jit
    def step(maps):
        def loss(maps):
            head = nnx.merge(graph, variables)
            logits = head(maps, key=jax.random.key(0)).logits
            return jnp.sum(logits**3), (logits, nnx.to_pure_dict(nnx.state(head)))

        return jax.grad(loss, has_aux=True)(maps)

    gradients, (logits, after) = step(tuple(map(jnp.asarray, maps)))
    agrees("all-MLP head, logits in training", logits, expected.detach().numpy().transpose(0, 2, 3, 1))
    for level, (gradient, one) in enumerate(zip(gradients, inputs, strict=True)):
        agrees(f"all-MLP head, gradient of map {level}", gradient, one.grad.numpy().transpose(0, 2, 3, 1))
    agrees("all-MLP head, running variance", after["norm"]["variance"], theirs.batch_norm.running_var.numpy())
    with torch.no_grad():
        expected = theirs.eval()(tuple(inputs)).numpy().transpose(0, 2, 3, 1)
    found = jax.jit(lambda maps: nnx.merge(graph, after)(maps).logits)(tuple(map(jnp.asarray, maps)))
    agrees("all-MLP head, logits", found, expected)
