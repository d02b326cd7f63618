"""The masked autoencoder against transformers' `ViTMAEForPreTraining`: loss, pixels, gradients, ten AdamW steps."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from agreement import norm_error, relative_error
from flax import nnx
from transformers import ViTMAEConfig, ViTMAEForPreTraining
from transformers.models.vit_mae import modeling_vit_mae

from samjax.core.tree import named_leaves, nest
from samjax.models.mae import Mae, MaeConfig, MaeDecoderConfig
from samjax.models.sam.image_encoder import ImageEncoder, ImageEncoderConfig
from samjax.models.vit.vit import Positions, VitConfig
from samjax.nn.sin_cos import sin_cos_table
from samjax.nn.structure import abstract_model, model_with
from samjax.optim.build import decay_mask

CONFIG = MaeConfig(
    image_size=(48, 48),
    encoder=VitConfig(patch=8, width=48, depth=3, heads=3, class_token=True, positions=Positions.SIN_COS),
    decoder=MaeDecoderConfig(width=32, depth=2, heads=2),
    visible=9,
    dtype="float32",
)
IMAGE = np.random.default_rng(0).normal(size=(3, 48, 48, 3)).astype(np.float32)
NOISE = np.random.default_rng(1).random((3, CONFIG.tokens)).astype(np.float32)
FIXED = ("vit.embeddings.position_embeddings", "decoder.decoder_pos_embed")


def theirs(config: MaeConfig, **changes) -> ViTMAEForPreTraining:
    """Return their model of `config` with drawn weights and their own sin-cos positions, the class token's row zero."""
    encoder, decoder = config.encoder, config.decoder
    model = ViTMAEForPreTraining(
        ViTMAEConfig(
            image_size=config.image_size[0],
            patch_size=encoder.patch,
            hidden_size=encoder.width,
            num_hidden_layers=encoder.depth,
            num_attention_heads=encoder.heads,
            intermediate_size=4 * encoder.width,
            decoder_hidden_size=decoder.width,
            decoder_num_hidden_layers=decoder.depth,
            decoder_num_attention_heads=decoder.heads,
            decoder_intermediate_size=4 * decoder.width,
            **{
                "mask_ratio": 1 - config.visible / config.tokens,
                "norm_pix_loss": config.normalise_targets,
                "layer_norm_eps": encoder.epsilon,
                **changes,
            },
        )
    ).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            noise = torch.randn(weight.shape, generator=generator)
            weight.copy_(
                0.2 * noise + ("norm" in name and name.endswith("weight")) if weight.ndim == 1 else 0.1 * noise
            )
    fixed = dict(model.named_parameters())
    for name, width in zip(FIXED, (encoder.width, decoder.width), strict=True):
        table = torch.from_numpy(np.array(their_table(config.grid, width)).reshape(-1, width))
        fixed[name].data = torch.cat([torch.zeros(1, width), table])[None]
        fixed[name].requires_grad_(False)
    return model


def their_table(grid: tuple[int, int], width: int) -> np.ndarray:
    """Return their positions [h, w, d], the halves swapped as for the published weights."""
    rows_first = modeling_vit_mae.build_2d_sinusoidal_position_embedding(*grid, embed_dim=width)
    return torch.cat([rows_first[:, width // 2 :], rows_first[:, : width // 2]], dim=1).reshape(*grid, width).numpy()


def ours(weights: dict[str, np.ndarray], config: MaeConfig) -> tuple[dict, dict]:
    """Return their weights, or anything of their shapes, as our parameters and buffers."""

    def linear(name: str) -> dict[str, np.ndarray]:
        return {"kernel": weights[f"{name}.weight"].T, "bias": weights[f"{name}.bias"]}

    def norm(name: str) -> dict[str, np.ndarray]:
        return {"scale": weights[f"{name}.weight"], "bias": weights[f"{name}.bias"]}

    def block(name: str, heads: int) -> dict:
        out = linear(f"{name}.attention.o_proj")
        width = len(out["bias"])
        parts = [linear(f"{name}.attention.{part}_proj") for part in "qkv"]
        return {
            "norm1": norm(f"{name}.layernorm_before"),
            "norm2": norm(f"{name}.layernorm_after"),
            "mlp": {"up": linear(f"{name}.mlp.fc1"), "down": linear(f"{name}.mlp.fc2")},
            "attention": {
                "qkv": {
                    "kernel": np.stack([part["kernel"] for part in parts], axis=1).reshape(width, 3, heads, -1),
                    "bias": np.stack([part["bias"] for part in parts]).reshape(3, heads, -1),
                },
                "out": {"kernel": out["kernel"].reshape(heads, -1, width), "bias": out["bias"]},
            },
        }

    def blocks(name: str, depth: int, heads: int) -> dict:
        return {"full": jax.tree.map(lambda *a: np.stack(a), *(block(f"{name}.{i}", heads) for i in range(depth)))}

    encoder, decoder = config.encoder, config.decoder
    patch = "vit.embeddings.patch_embeddings.projection"
    params = {
        "encoder": {
            "patch_embed": {
                "kernel": weights[f"{patch}.weight"].transpose(2, 3, 1, 0),
                "bias": weights[f"{patch}.bias"],
            },
            "class_token": weights["vit.embeddings.cls_token"].reshape(-1),
            "groups": blocks("vit.layers", encoder.depth, encoder.heads),
            "norm": norm("vit.layernorm"),
        },
        "decoder": {
            "embed": linear("decoder.decoder_embed"),
            "mask_token": weights["decoder.mask_token"].reshape(-1),
            "groups": blocks("decoder.decoder_layers", decoder.depth, decoder.heads),
            "norm": norm("decoder.decoder_norm"),
            "predict": linear("decoder.decoder_pred"),
        },
    }
    buffers = {
        part: {"position": weights[name][0, 1:].reshape(*config.grid, -1)}
        for part, name in zip(("encoder", "decoder"), FIXED, strict=True)
    }
    return params, buffers


def weights_of(model: ViTMAEForPreTraining) -> dict[str, np.ndarray]:
    return {name: weight.detach().numpy().copy() for name, weight in model.named_parameters()}


def channels_first(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image.transpose(0, 3, 1, 2).copy())


def run_theirs(model: ViTMAEForPreTraining):
    return model(channels_first(IMAGE), noise=torch.from_numpy(NOISE))


def objective(config: MaeConfig, buffers: dict) -> Callable:
    """Return the function from parameters to ((loss, output), gradient)."""
    graph, *_ = abstract_model(config.make)

    def loss(params):
        model = nnx.merge(graph, params, jax.tree.map(jnp.asarray, buffers))
        output = model(jnp.asarray(IMAGE), jnp.asarray(NOISE))
        return model.loss(output.predictions, model.targets(jnp.asarray(IMAGE)), output.hidden), output

    return jax.jit(jax.value_and_grad(loss, has_aux=True))


def is_key_bias(name: str) -> bool:
    """Say whose gradient is rounding alone: it adds the same to all of a query's scores."""
    return name.endswith("qkv/bias")


def with_gradient(name: str, array) -> np.ndarray:
    array = np.asarray(array)
    return array[:, [0, 2]] if is_key_bias(name) else array


@pytest.mark.parametrize("normalise_targets", [True, False])
def test_loss_pixels_and_gradients(normalise_targets, agrees):
    config = dataclasses.replace(CONFIG, normalise_targets=normalise_targets)
    model = theirs(config)
    params, buffers = ours(weights_of(model), config)
    (loss, output), gradient = objective(config, buffers)(params)
    expected = run_theirs(model)
    expected.loss.backward()
    kind = "normalised" if normalise_targets else "plain"
    np.testing.assert_array_equal(output.hidden, expected.mask.numpy() == 1)
    agrees(f"MAE's loss, {kind} pixels", loss, expected.loss.detach())
    agrees("MAE's pixels", output.predictions, expected.logits.detach())
    gradients = {name: np.zeros(w.shape) if w.grad is None else w.grad.numpy() for name, w in model.named_parameters()}
    theirs_by_name = named_leaves(ours(gradients, config)[0])
    for name, ours_gradient in named_leaves(gradient).items():
        agrees("MAE's gradient", with_gradient(name, ours_gradient), with_gradient(name, theirs_by_name[name]), 1e-4)


@pytest.mark.parametrize(
    "change",
    [{"layer_norm_eps": 1e-12}, {"norm_pix_loss": False}, {"mask_ratio": 0.5}],
    ids=["epsilon", "plain pixels", "half hidden"],
)
def test_another_setting_shows(change):
    """Parity tells apart what transformers' defaults would have changed."""
    model, other = theirs(CONFIG), theirs(CONFIG, **change)
    with torch.no_grad():
        for one in (model, other):  # quiet tokens: the first norm's epsilon shows
            for weight in one.vit.embeddings.parameters():
                weight *= 0.003
        params, buffers = ours(weights_of(model), CONFIG)
        (loss, output), _ = objective(CONFIG, buffers)(params)
        same, different = run_theirs(model), run_theirs(other)
    assert relative_error(output.predictions, same.logits) < 1e-5
    assert relative_error(loss, same.loss) < 1e-5
    assert max(relative_error(loss, different.loss), relative_error(output.predictions, different.logits)) > 2e-5


@pytest.mark.parametrize("grid", [(6, 6), (3, 5)], ids=str)
def test_positions_are_those_of_the_published_weights(grid, agrees):
    agrees("MAE's positions", sin_cos_table(grid, 32), their_table(grid, 32), 1e-6)


def test_whole_photos(agrees):
    """Nothing hidden and the noise rising: every patch in order behind the class token, after the last norm."""
    model = theirs(CONFIG, mask_ratio=0.0)
    params, buffers = ours(weights_of(model), CONFIG)
    rising = torch.arange(CONFIG.tokens, dtype=torch.float32).expand(3, -1)
    with torch.no_grad():
        expected = model.vit(channels_first(IMAGE), noise=rising).last_hidden_state.numpy()
    encoded = jax.jit(Mae.encode)(model_with(CONFIG.make, params=params, buffers=buffers), jnp.asarray(IMAGE))
    agrees("MAE's tokens of a whole photo", encoded.map.reshape(3, CONFIG.tokens, -1), expected[:, 1:])
    agrees("MAE's class token", encoded.class_token, expected[:, 0])


def test_ten_steps(agrees):
    """By the recipe's AdamW, with decay on matrices, class token and mask token alone."""
    model = theirs(CONFIG)
    start = weights_of(model)
    params, buffers = ours(start, CONFIG)
    params = jax.tree.map(jnp.asarray, params)
    run = objective(CONFIG, buffers)
    optimizer = optax.adamw(1e-3, b1=0.9, b2=0.95, eps=1e-5, weight_decay=0.05, mask=decay_mask)
    state = optimizer.init(params)
    update = jax.jit(optimizer.update)
    trained = {name: weight for name, weight in model.named_parameters() if name not in FIXED}
    torch_optimizer = torch.optim.AdamW(
        [{"params": [weight], "weight_decay": 0.05 * (weight.ndim > 1)} for weight in trained.values()],
        lr=1e-3,
        betas=(0.9, 0.95),
        eps=1e-5,
    )
    for _ in range(10):
        (loss, _), gradient = run(params)
        updates, state = update(gradient, state, params)
        params = optax.apply_updates(params, updates)
        torch_optimizer.zero_grad()
        expected = run_theirs(model).loss
        expected.backward()
        torch_optimizer.step()
        agrees("MAE's loss, ten AdamW steps", loss, expected.detach(), 1e-4)
    before, after = (named_leaves(ours(weights, CONFIG)[0]) for weights in (start, weights_of(model)))
    for name, found in named_leaves(params).items():
        way = with_gradient(name, found) - with_gradient(name, before[name])
        expected_way = with_gradient(name, after[name]) - with_gradient(name, before[name])
        agrees("MAE's way of ten AdamW steps", way, expected_way, 1e-4, measure=norm_error)


def sams_tokens(model: ViTMAEForPreTraining, config: MaeConfig, image: np.ndarray) -> np.ndarray:
    """Return what the blocks of SAM's encoder make of a photo with MAE's weights: [b, n, d] before neck and norm."""
    params, buffers = ours(weights_of(model), config)
    sizes = config.encoder
    encoder_config = ImageEncoderConfig(
        patch=sizes.patch, width=sizes.width, depth=sizes.depth, heads=sizes.heads, global_every=1
    )
    encoder = ImageEncoder(
        encoder_config, grid=config.grid, embedding=8, dtype=jnp.dtype("float32"), rngs=nnx.Rngs(0)
    )  # its relative positions start at zero
    mae = named_leaves(params["encoder"])
    taken = {name: leaf for name, leaf in mae.items() if name.startswith(("patch_embed/", "groups/"))}
    nnx.update(encoder, jax.tree.map(jnp.asarray, nest({**taken, "position": buffers["encoder"]["position"]})))
    features = jax.jit(lambda encoder, image: encoder.features(image))(encoder, jnp.asarray(image))
    return np.asarray(features.map).reshape(len(image), config.tokens, -1)


def test_sams_encoder_starts_as_mae_without_its_class_token(agrees):
    """At 224 px and patch 16, all blocks global: MAE's tokens before its last norm, had it no class token.

    MAE's class token takes part in its attention and SAM has none, so the published model's own tokens differ; by how
    much depends on the weights.
    """
    config = MaeConfig(
        image_size=(224, 224),
        encoder=dataclasses.replace(CONFIG.encoder, patch=16),
        decoder=CONFIG.decoder,
        dtype="float32",
    )
    model = theirs(config, mask_ratio=0.0)
    image = np.random.default_rng(2).normal(size=(1, 224, 224, 3)).astype(np.float32)
    rising = torch.arange(config.tokens, dtype=torch.float32)[None]
    with torch.no_grad():
        embedded = model.vit.embeddings(channels_first(image), noise=rising)[0]

        def before_norm(tokens: torch.Tensor) -> np.ndarray:
            for layer in model.vit.layers:
                tokens = layer(tokens)
            return tokens.numpy()

        without, with_token = before_norm(embedded[:, 1:]), before_norm(embedded)[:, 1:]
    found = sams_tokens(model, config, image)
    agrees("SAM's encoder from MAE, class token left out", found, without)
    assert relative_error(found, with_token) > 1e-3
