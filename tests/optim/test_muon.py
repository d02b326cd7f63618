"""Muon: the direction of kernels, and what it is kept for."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from helpers.micro import micro_mae

from samjax.cli.main import main
from samjax.core.errors import UserError
from samjax.core.tree import named_leaves
from samjax.data.photo_data import PhotoDataConfig
from samjax.nn.dense import dense_kernels
from samjax.nn.rngs import initial_rngs
from samjax.optim.build import OptimConfig, make_optimizer
from samjax.optim.muon import muon_matrices, scale_matrices_by_muon
from samjax.optim.schedule import ConstantConfig
from samjax.parallel.mesh import MeshConfig, make_mesh
from samjax.tasks.masked_images import MaskedImageTraining
from samjax.training.state import make_blueprint

QKV, OUT, UP = (f"encoder/groups/full/{layer}/kernel" for layer in ("attention/qkv", "attention/out", "mlp/up"))


@pytest.fixture(scope="module")
def model():
    """The shapes of a small masked autoencoder's parameters, and its dense kernels."""
    module = nnx.eval_shape(lambda: micro_mae().make(rngs=initial_rngs(0)))
    return named_leaves(nnx.to_pure_dict(nnx.state(module, nnx.Param))), dense_kernels(module)


@pytest.fixture(scope="module")
def directions(model):
    """The kernels' momentum after one gradient, and Muon's direction."""
    shapes, kernels = model
    matrices = muon_matrices((QKV, OUT, UP), shapes, kernels)
    gradients = {
        name: jax.random.normal(jax.random.key(i), shapes[name].shape) for i, name in enumerate((QKV, OUT, UP))
    }
    transform = scale_matrices_by_muon(matrices)
    return gradients, transform.update(gradients, transform.init(gradients))[0]


def matrices_of(name, kernel):
    """A kernel as a stack of matrices, inputs first, written out for each layer."""
    kernel = np.asarray(kernel)
    layers = kernel.shape[0]
    if name == QKV:
        return np.moveaxis(kernel, 2, 1).reshape(layers * 3, kernel.shape[1], -1)
    return kernel.reshape(layers, -1, kernel.shape[-1])


@pytest.mark.parametrize("name", [QKV, OUT, UP])
def test_each_matrix_keeps_its_singular_vectors_and_has_equal_singular_values(directions, name):
    """Newton and Schulz's five steps bring them to between 0.6 and 1.3; query, key and value are matrices apart."""
    gradients, updates = directions
    longer = max(matrices_of(name, updates[name]).shape[1:])
    for gradient, update in zip(*(matrices_of(name, tree[name]) for tree in (gradients, updates)), strict=True):
        left, values, right = np.linalg.svd(gradient, full_matrices=False)
        turned = left.T @ update @ right.T / (0.2 * longer**0.5)
        kept = values > 0.1 * values.max()
        assert np.all((np.diag(turned)[kept] > 0.6) & (np.diag(turned)[kept] < 1.3))
        np.testing.assert_allclose(turned - np.diag(np.diag(turned)), 0, atol=1e-4)


def test_it_is_optax_muon_for_plain_matrices():
    params = {"mlp": {"kernel": jnp.zeros((6, 10))}}
    plain = optax.contrib.muon(0.5, consistent_rms=0.2)
    matrices = {"mlp/kernel": ((0,), (1,))}
    config = OptimConfig(
        schedule=ConstantConfig(peak_lr=0.5, warmup_steps=0), weight_decay=0.0, layer_decay=1.0, clip_norm=0.0
    )
    ours = make_optimizer(config, (), steps=9, matrices=matrices)
    states = plain.init(params), ours.init(params)
    for step in range(3):
        gradients = {"mlp": {"kernel": jax.random.normal(jax.random.key(step), (6, 10))}}
        (expected, a), (found, b) = (
            plain.update(gradients, states[0], params),
            ours.update(gradients, states[1], params),
        )
        states = a, b
        np.testing.assert_allclose(found["mlp"]["kernel"], expected["mlp"]["kernel"], rtol=1e-5, atol=1e-7)


def test_its_kernels_have_one_moment_split_as_they_are():
    config = MaskedImageTraining(
        model=micro_mae(),
        data=PhotoDataConfig(source="synthetic:photos=2,size=48"),
        optim=OptimConfig(muon=("*coder/groups/**/kernel",)),
        mesh=MeshConfig(data=1, fsdp=2),
    )
    blueprint = make_blueprint(config, make_mesh(config.mesh, jax.devices()[:2]))
    shapes, shardings = named_leaves(blueprint.shapes.opt_state), named_leaves(blueprint.shardings.opt_state)
    params = named_leaves(blueprint.shardings.params)
    assert list(shapes) == list(shardings)
    split = 0
    for name, sharding in params.items():
        moments = [moment for moment in shapes if moment.endswith(f"/{name}")]
        assert len(moments) == (1 if "/groups/" in name and name.endswith("kernel") else 2), name
        assert all(shardings[moment] == sharding for moment in moments), name
        split += not sharding.is_fully_replicated and len(moments) == 1
    assert split


def test_a_pattern_must_match_a_dense_kernel(model, capsys, tmp_path):
    with pytest.raises(UserError, match=r"optim\.muon: .*norm.* matches no kernel of a dense layer"):
        muon_matrices(("encoder/norm/*",), *model)
    run = ["train", "experiments/sam/smoke.py", "--batch-size", "8", "--workdir", str(tmp_path / "w"), "--dry-run"]
    assert main([*run, "--trainable", "mask_decoder/**", "--optim.muon", "image_encoder/**"]) == 2
    assert "optim.muon: 'image_encoder/**' matches no parameter; there are mask_decoder/**" in capsys.readouterr().err
