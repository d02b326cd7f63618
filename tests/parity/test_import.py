"""Weights that PyTorch's libraries save, imported: they come back bit for bit, and compute the same here."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import transformers
from etils import epath
from flax import nnx
from reference import SMALL, channels_first, reference, to_numpy
from released import released

from samjax.checkpoint.load import model_record
from samjax.checkpoint.weights import Weights
from samjax.data.masks.mask_data import MaskDataConfig
from samjax.interop.mapping import Naming
from samjax.interop.read_weights import import_weights
from samjax.interop.tables.sam import SAM
from samjax.interop.tables.sam_rows import RELEASE, TRANSFORMERS
from samjax.models.sam.image_encoder import ImageEncoderConfig
from samjax.models.sam.sam import Sam, SamConfig
from samjax.nn.structure import array_shapes, model_with
from samjax.tasks.promptable import PromptableTraining


@pytest.fixture(scope="module")
def theirs() -> transformers.SamModel:
    return reference(SMALL)


@pytest.mark.parametrize("saved", ["whole", "shards", "bin", "released"])
def test_what_is_imported_is_exported_bit_for_bit(theirs, tmp_path, saved):
    state = {key: array.numpy() for key, array in theirs.state_dict().items()}
    naming, heads = TRANSFORMERS, None
    if saved == "released":
        state, naming, heads = released(state), RELEASE, SMALL.mask_decoder.heads
        path = tmp_path / "sam.pth"
        torch.save({key: torch.tensor(array) for key, array in state.items()}, path)
    else:
        path = tmp_path
        theirs.save_pretrained(path, max_shard_size="500KB" if saved == "shards" else "5GB")
        if saved == "bin":
            (path / "model.safetensors").unlink()
            torch.save(theirs.state_dict(), path / "pytorch_model.bin")
    imported = import_weights(path, decoder_heads=heads)
    assert (len(imported.sha256) > 1) == (saved == "shards")
    assert imported.reading.config.image_encoder == SMALL.image_encoder
    assert imported.reading.config.mask_decoder.heads == SMALL.mask_decoder.heads
    back = SAM.to_torch(imported.reading.params, imported.reading.buffers, imported.reading.config, naming)
    assert back.keys() == state.keys()
    for key, array in state.items():
        np.testing.assert_array_equal(back[key], array, err_msg=key)


def test_an_imported_model_embeds_a_photo_as_the_original(theirs, tmp_path, agrees):
    """Sizes and heads are read from the file; the image encoder's output hangs on every one of them."""
    theirs.save_pretrained(tmp_path)
    imported = import_weights(tmp_path).reading
    model = model_with(imported.config.make, params=imported.params, buffers=imported.buffers)
    image = np.random.default_rng(0).normal(size=(1, *SMALL.image_size, 3)).astype(np.float32)
    with torch.no_grad():
        expected = theirs.vision_encoder(channels_first(image)).last_hidden_state
    embedding = jax.jit(lambda model, image: model.image_encoder(image))(model, jnp.asarray(image))
    agrees("imported SamModel, image encoder", embedding, to_numpy(expected, channels_last=True))


@pytest.mark.parametrize("config", [SamConfig.vit_b(), SamConfig.vit_l(), SamConfig.vit_h()], ids=["b", "l", "h"])
def test_keys_and_shapes_are_those_of_the_papers_sizes(config):
    """Of transformers' SamModel at its full size, on the meta device, and through it of the release's."""
    encoder = config.image_encoder
    vision = transformers.SamVisionConfig(
        hidden_size=encoder.width,
        num_hidden_layers=encoder.depth,
        num_attention_heads=encoder.heads,
        global_attn_indexes=list(range(encoder.global_every - 1, encoder.depth, encoder.global_every)),
    )
    with torch.device("meta"):
        model = transformers.SamModel(transformers.SamConfig(vision_config=vision.to_dict()))
    theirs = {key: array.shape for key, array in model.state_dict().items()}
    expected = array_shapes(config.make)

    def ours(naming: Naming) -> dict[str, tuple[int, ...]]:
        return {
            key: entry.layout.torch_shape(expected[entry.path][len(entry.index) :])
            for entry in SAM.entries(config, naming)
            for key in entry.keys
        }

    assert ours(TRANSFORMERS) == theirs
    assert ours(RELEASE) == released(theirs)


LAYER = {
    "attention.q_proj": None,
    "attention.k_proj": None,
    "attention.v_proj": None,
    "attention.o_proj": "attn.proj",
    "layernorm_before": "norm1",
    "layernorm_after": "norm2",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}


class Same(nnx.Module):
    def __call__(self, x):
        return x


@torch.no_grad()
def test_an_imported_vit_computes_as_the_original(tmp_path, agrees):
    """A ViT whose map is one window attends globally in every block; its relative tables start at zero, at no cost."""
    width, depth, patch, side = 128, 8, 16, 14
    vit = transformers.ViTModel(
        transformers.ViTConfig(
            hidden_size=width,
            num_hidden_layers=depth,
            num_attention_heads=width // 64,
            intermediate_size=4 * width,
            image_size=side * patch,
            patch_size=patch,
            layer_norm_eps=1e-6,
        ),
        add_pooling_layer=False,
    ).eval()
    generator = torch.Generator().manual_seed(0)
    for name, weight in vit.named_parameters():
        noise = torch.randn(weight.shape, generator=generator)
        weight.copy_(noise * 0.2 + ("norm" in name and name.endswith("weight")) if weight.ndim == 1 else noise * 0.1)
    torch.save({"model": as_mae(vit.state_dict(), depth)}, tmp_path / "mae.pth")

    imported = import_weights(tmp_path / "mae.pth", image_size=(side * patch, side * patch)).reading
    ours = SamConfig.vit_h(
        image_size=(side * patch, side * patch),
        image_encoder=ImageEncoderConfig(width=width, depth=depth, heads=width // 64, window=side, global_every=2),
        dtype="float32",
    )
    run = PromptableTraining(model=ours, data=MaskDataConfig(source="x"))
    found = Weights(
        params=imported.params,
        buffers=imported.buffers,
        config=model_record(imported.config),
        path=epath.Path(tmp_path / "vit"),
    )
    started = run.convert_weights(found, imported.config)
    encoder = Sam(ours, rngs=nnx.Rngs(0)).image_encoder
    nnx.update(encoder, jax.tree.map(jnp.asarray, started.params["image_encoder"]))
    encoder.neck = Same()
    image = np.random.default_rng(0).normal(size=(1, side * patch, side * patch, 3)).astype(np.float32)
    tokens = vit.embeddings(channels_first(image))[:, 1:]
    for layer in vit.layers:
        tokens = layer(tokens)
    expected = tokens.reshape(1, side, side, width).numpy()
    agrees("imported ViT, every block", jax.jit(lambda e, x: e(x))(encoder, jnp.asarray(image)), expected)


def as_mae(state: dict[str, torch.Tensor], depth: int) -> dict[str, torch.Tensor]:
    """Return a ViTModel's state dict in MAE's names, with one projection where it has three."""
    named = {
        "cls_token": state["embeddings.cls_token"],
        "pos_embed": state["embeddings.position_embeddings"],
        "norm.weight": state["layernorm.weight"],
        "norm.bias": state["layernorm.bias"],
    }
    for kind in ("weight", "bias"):
        named[f"patch_embed.proj.{kind}"] = state[f"embeddings.patch_embeddings.projection.{kind}"]
        for block in range(depth):
            layer = {key: state[f"layers.{block}.{key}.{kind}"] for key in LAYER}
            named[f"blocks.{block}.attn.qkv.{kind}"] = torch.cat([layer[f"attention.{x}_proj"] for x in "qkv"])
            named |= {f"blocks.{block}.{mae}.{kind}": layer[key] for key, mae in LAYER.items() if mae}
    return named
