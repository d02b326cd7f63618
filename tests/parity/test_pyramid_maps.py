"""Pyramid vision transformers against transformers' SegFormer, PVT and PVT v2: every map, float32."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from transformers import PvtConfig, PvtModel, PvtV2Backbone, PvtV2Config, SegformerConfig, SegformerModel

from samjax.core.tree import nest
from samjax.interop.mapping import Naming, arrays_from_torch, write_out
from samjax.interop.tables.pyramid_rows import PVT, PVT_V2, SEGFORMER, pyramid_rows, pyramid_slots
from samjax.models.pyramid.pyramid import Pyramid, PyramidConfig
from samjax.nn.reduction_attention import Reduction
from samjax.nn.structure import array_shapes, model_with

SIZES = {"widths": (8, 16, 20, 32), "depths": (2, 1, 1, 2), "heads": (1, 2, 5, 8)}
MIT = PyramidConfig(**SIZES, epsilon=1e-5)
V1 = PyramidConfig.pvt_tiny(**SIZES)
V2 = PyramidConfig.pvt_v2_b1(**SIZES)
LINEAR = PyramidConfig.pvt_v2_b1(**SIZES, reduction=Reduction.POOL)
UNEVEN = (72, 104)
"""Maps of 18 x 26 tokens: the last two rows and columns fill no reduction by 8."""


def theirs(name: str, config: PyramidConfig) -> torch.nn.Module:
    """Return transformers' model of the config's sizes, with drawn weights, and the authors' epsilon in every norm."""
    sizes = {
        "hidden_sizes": list(config.widths),
        "depths": list(config.depths),
        "num_attention_heads": list(config.heads),
    }
    ratios = {"mlp_ratios": list(config.mlp_ratios)}
    if name == SEGFORMER:
        model = SegformerModel(SegformerConfig(**sizes, **ratios, drop_path_rate=0.0))
    elif name == PVT:
        model = PvtModel(PvtConfig(**sizes, **ratios))
    else:
        pooled = config.reduction is Reduction.POOL
        stages = [f"stage{stage}" for stage in range(1, 5)]
        model = PvtV2Backbone(PvtV2Config(**sizes, **ratios, linear_attention=pooled, out_features=stages))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for key, weight in model.named_parameters():
            noise = torch.randn(weight.shape, generator=generator)
            weight.copy_(0.2 * noise + ("norm" in key and key.endswith("weight")))
    for key, module in model.named_modules():
        if isinstance(module, torch.nn.LayerNorm):
            is_inside = "patch_embed" in key or "attention" in key
            module.eps = 1e-5 if is_inside else config.epsilon
    return model.eval()


def weights_of(model: torch.nn.Module, name: str, config: PyramidConfig, folder, image_size) -> Pyramid:
    """Return ours with the weights that transformers writes to a file."""
    model.save_pretrained(folder)
    arrays = load_file(folder / "model.safetensors")
    known = {"cls_token", "layer_norm"} if name == PVT else set()
    arrays = {
        key: array
        for key, array in arrays.items()
        if not any(key.startswith(f"encoder.{one}.") or key.endswith(f".{one}") for one in known)
    }

    def make(*, rngs):
        return Pyramid(config, image_size=image_size, dtype=jnp.dtype("float32"), rngs=rngs)

    naming = Naming(name=name, title=name, signs=())
    table = write_out(pyramid_rows(config, prefixes={name: ""}), pyramid_slots(config), naming)
    params = arrays_from_torch(table, arrays, array_shapes(make))
    return model_with(make, params=nest(params), buffers={})


def maps_of(name: str, model: torch.nn.Module, image: torch.Tensor) -> list[torch.Tensor]:
    """Return their maps [b c h w]. PVT's are put together: its last stage has no class token where maps are wanted."""
    if name != PVT:
        out = model(image, output_hidden_states=True)
        return list(out.feature_maps if name == PVT_V2 else out.hidden_states)
    maps = [image]
    for embedding, blocks in zip(model.encoder.patch_embeddings, model.encoder.block, strict=True):
        patches = embedding.projection(maps[-1])
        height, width = patches.shape[2:]
        positions = embedding.position_embeddings[:, -height * width :]
        tokens = embedding.layer_norm(patches.flatten(2).transpose(1, 2)) + positions
        for block in blocks:
            tokens = block(tokens, height, width)[0]
        maps.append(tokens.transpose(1, 2).reshape(len(image), -1, height, width))
    return maps[1:]


@pytest.mark.parametrize(
    ("name", "config", "sides"),
    [
        pytest.param(SEGFORMER, MIT, (64, 96), id="segformer"),
        pytest.param(SEGFORMER, MIT, UNEVEN, id="segformer-uneven"),
        pytest.param(PVT_V2, V2, UNEVEN, id="pvt-v2"),
        pytest.param(PVT_V2, LINEAR, UNEVEN, id="pvt-v2-li"),
        pytest.param(PVT, V1, (224, 224), id="pvt", marks=pytest.mark.slow),
    ],
)
@torch.no_grad()
def test_every_map(name, config, sides, agrees, tmp_path):
    reference = theirs(name, config)
    image = np.random.default_rng(1).normal(size=(2, *sides, 3)).astype(np.float32)
    expected = maps_of(name, reference, torch.from_numpy(image.transpose(0, 3, 1, 2)))
    model = weights_of(reference, name, config, tmp_path, sides)
    maps = jax.jit(lambda model, image: model(image))(model, image)
    for stage, (ours, their) in enumerate(zip(maps, expected, strict=True)):
        agrees(f"{name} {sides}, stage {stage}", ours, np.asarray(their.permute(0, 2, 3, 1)), 1e-5)
