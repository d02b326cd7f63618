"""Mask2Former against transformers': what the queries say before the first layer and after each, float32."""

import copy
import fnmatch

import jax
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from transformers import Mask2FormerConfig as TheirConfig
from transformers import Mask2FormerForUniversalSegmentation
from transformers import SwinConfig as TheirSwinConfig

from samjax.core.tree import nest
from samjax.interop.mapping import arrays_from_torch, arrays_to_torch, write_out
from samjax.interop.tables.mask2former_rows import NAMING, mask2former_rows, mask2former_slots
from samjax.models.query_masks.mask2former import Mask2FormerConfig
from samjax.models.query_masks.mask2former_sizes import Mask2FormerSizes
from samjax.models.query_masks.masked_decoder import mask_logits
from samjax.models.swin.swin import SwinConfig
from samjax.nn.structure import array_shapes, model_with

SMALL = Mask2FormerConfig(
    classes=5,
    encoder=SwinConfig(width=8, depths=(2, 2, 2, 2), heads=(1, 2, 4, 8), window=4),
    decoder=Mask2FormerSizes(
        width=32, heads=4, points=4, pixel_layers=2, pixel_hidden=48, layers=6, hidden=64, queries=6
    ),
    dtype="float32",
)


@pytest.fixture(scope="module")
def theirs():
    """Transformers' model of our sizes, with drawn weights."""
    encoder, decoder = SMALL.encoder, SMALL.decoder
    model = Mask2FormerForUniversalSegmentation(
        TheirConfig(
            backbone_config=TheirSwinConfig(
                embed_dim=encoder.width,
                depths=list(encoder.depths),
                num_heads=list(encoder.heads),
                window_size=encoder.window,
                drop_path_rate=0.0,
                out_features=[f"stage{stage}" for stage in range(1, 5)],
            ),
            feature_size=decoder.width,
            mask_feature_size=decoder.width,
            hidden_dim=decoder.width,
            num_attention_heads=decoder.heads,
            encoder_layers=decoder.pixel_layers,
            encoder_feedforward_dim=decoder.pixel_hidden,
            decoder_layers=decoder.layers + 1,
            dim_feedforward=decoder.hidden,
            num_queries=decoder.queries,
            num_labels=SMALL.classes,
            dropout=0.0,
        )
    )
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for key, weight in model.named_parameters():
            noise = torch.randn(weight.shape, generator=generator)
            is_scale = key.endswith("weight") and weight.ndim == 1
            weight.copy_((2.0 if "offsets.bias" in key else 0.15) * noise + is_scale)
    return model.eval()


def saved(model, folder) -> dict[str, np.ndarray]:
    """Return what transformers writes of a model, without what is not used."""
    model.save_pretrained(folder)
    found = load_file(folder / "model.safetensors")
    unused = NAMING.unused_patterns
    return {key: one for key, one in found.items() if not any(fnmatch.fnmatch(key, pattern) for pattern in unused)}


def ours(arrays, table):
    return model_with(SMALL.make, params=nest(arrays_from_torch(table, arrays, array_shapes(SMALL.make))), buffers={})


@pytest.fixture(scope="module")
def arrays(theirs, tmp_path_factory):
    return saved(theirs, tmp_path_factory.mktemp("mask2former"))


@pytest.fixture(scope="module")
def table():
    return write_out(mask2former_rows(SMALL), mask2former_slots(SMALL), NAMING)


@pytest.mark.parametrize("sides", [pytest.param((96, 128), id="multiples"), pytest.param((75, 101), id="odd")])
def test_what_every_layer_says(theirs, arrays, table, sides, agrees):
    image = np.random.default_rng(1).normal(size=(2, *sides, 3)).astype(np.float32)
    with torch.no_grad():
        expected = theirs(torch.from_numpy(image.transpose(0, 3, 1, 2)), output_auxiliary_logits=True)
    said = jax.jit(lambda model, image: model(image))(ours(arrays, table), image)
    by_layer = [*expected.auxiliary_logits, vars(expected)]
    assert len(by_layer) == len(said.class_logits) == SMALL.decoder.layers + 1
    for n, their in enumerate(by_layer):
        agrees("Mask2Former, classes", said.class_logits[n], np.asarray(their["class_queries_logits"]), 1e-5)
        own = mask_logits(said.embeddings[n], said.mask_map)
        agrees("Mask2Former, masks", own, np.asarray(their["masks_queries_logits"]), 1e-5)


def test_queries_whose_masks_are_empty_attend_everywhere(theirs, table, tmp_path, agrees):
    """Every mask's logits are negative everywhere, before each layer."""
    empty = copy.deepcopy(theirs)
    predictor = empty.model.transformer_module.decoder.mask_predictor.mask_embedder.layers[2].layers[0]
    project = empty.model.pixel_level_module.decoder.mask_projection
    with torch.no_grad():
        for module, bias in ((predictor, 1.0), (project, -1.0)):
            module.weight.zero_()
            module.bias.fill_(bias)
    image = np.random.default_rng(1).normal(size=(1, 64, 96, 3)).astype(np.float32)
    with torch.no_grad():
        expected = empty(torch.from_numpy(image.transpose(0, 3, 1, 2)))
    assert expected.masks_queries_logits.max() < 0
    said = jax.jit(lambda model, image: model(image))(ours(saved(empty, tmp_path), table), image)
    agrees("Mask2Former, classes, empty masks", said.class_logits[-1], np.asarray(expected.class_queries_logits), 1e-5)


def test_export_gives_the_same_arrays(arrays, table):
    shapes = array_shapes(SMALL.make)
    again = arrays_to_torch(table, arrays_from_torch(table, arrays, shapes), shapes)
    assert again.keys() == arrays.keys()
    for key, array in again.items():
        np.testing.assert_array_equal(array, arrays[key], err_msg=key)
