"""Whose a state dict is and how large its model, from keys and shapes alone."""

import dataclasses
import re

import numpy as np
import pytest
from helpers.foreign import HEADS, MICRO, as_large_as, vit

from samjax.core.errors import UserError
from samjax.interop.read_weights import recognise
from samjax.interop.tables.sam import SAM
from samjax.interop.tables.sam_geometry import Hints, sam_config, vit_config
from samjax.interop.tables.sam_rows import RELEASE, TRANSFORMERS, VIT
from samjax.models.sam.sam import SamConfig
from samjax.models.sam.sam_sizes import PUBLISHED, size_name

WHOLE = [RELEASE, TRANSFORMERS]
TABLE = "image_encoder.blocks.{}.attn.rel_pos_{}"


@pytest.mark.parametrize("naming", WHOLE)
@pytest.mark.parametrize("name", PUBLISHED)
def test_the_papers_sizes(name, naming):
    arrays = as_large_as(PUBLISHED[name], naming)
    found = recognise(arrays, name="x")
    assert (found.naming, found.prefix) == (naming, "")
    read = sam_config(arrays, naming, Hints())
    assert read == dataclasses.replace(PUBLISHED[name], dtype="float32")
    assert size_name(read) == name


@pytest.mark.parametrize("naming", WHOLE)
@pytest.mark.parametrize("size", [(64, 64), (80, 144)])
def test_any_other_size(naming, size):
    config = dataclasses.replace(MICRO, image_size=size, mask_prompt_channels=8)
    assert sam_config(as_large_as(config, naming), naming, Hints(decoder_heads=HEADS)) == config


def test_the_release_of_vit_b_has_314_arrays():
    """As sam_vit_b_01ec64.pth: 1 position table, 12 blocks of 14 arrays, and the rest by part."""
    keys = [key for entry in SAM.entries(SamConfig.vit_b(), RELEASE) for key in entry.keys]
    assert len(keys) == len(set(keys)) == 1 + 2 + 12 * 14 + 6 + (1 + 4 + 2 + 10) + (2 + 2 * 36 + 10 + 6 + 5 * 6)
    patterns = {re.sub(r"\d+", "#", key) for key in keys}
    assert "mask_decoder.output_hypernetworks_mlps.#.layers.#.weight" in patterns
    assert "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix" in patterns


@pytest.mark.parametrize(("width", "depth", "heads"), [(768, 12, 12), (1024, 24, 16), (1280, 32, 16), (384, 12, 6)])
def test_heads_of_plain_vits(width, depth, heads):
    shapes = {key: array.shape for key, array in vit(width=8, depth=1).items()}
    arrays = {
        key.replace("blocks.0", f"blocks.{block}"): np.broadcast_to(
            np.float32(0), [{8: width, 24: 3 * width, 32: 4 * width}.get(n, n) for n in shape]
        )
        for key, shape in shapes.items()
        for block in range(depth)
    }
    assert recognise(arrays, name="x").naming is VIT
    encoder = vit_config(arrays).image_encoder
    assert (encoder.width, encoder.depth, encoder.heads, encoder.patch) == (width, depth, heads, 16)
    assert encoder.global_every == depth // 4


@pytest.mark.parametrize("naming", SAM.namings, ids=lambda naming: naming.name)
@pytest.mark.parametrize("prefix", ["module.", "a.b."])
def test_a_prefix_is_seen(naming, prefix):
    arrays = {prefix + key: array for key, array in as_large_as(MICRO, naming).items()}
    found = recognise(arrays, name="x")
    assert (found.naming, found.prefix) == (naming, prefix)


def test_several_models_in_one_file_are_refused():
    arrays = {f"{of}.{key}": array for of in ("student", "teacher") for key, array in vit().items()}
    with pytest.raises(UserError, match=r"several models, under 'student\.', 'teacher\.'"):
        recognise(arrays, name="x")


@pytest.mark.parametrize(
    "keys",
    [
        [],
        ["conv1.weight", "layer1.0.conv1.weight", "fc.weight"],  # a ResNet
        ["image_encoder.trunk.patch_embed.proj.weight", "image_encoder.trunk.blocks.0.mlp.layers.0.weight"],  # SAM 2
        ["patch_embed.proj.weight", "layers.0.blocks.0.mlp.fc1.weight"],  # Swin
        ["patch_embed.proj.weight", "blocks.0.mlp.fc1.weight"],  # without an absolute table
    ],
)
def test_other_architectures_are_refused(keys):
    with pytest.raises(UserError, match="x is of another architecture"):
        recognise({key: np.zeros(1) for key in keys}, name="x")


def refused(changes: dict[str, tuple[int, ...] | None], known: Hints | None = None) -> str:
    """Return what is said of a micro model of the release with arrays of other shapes, None without."""
    arrays = as_large_as(MICRO, RELEASE)
    for key, shape in changes.items():
        assert key in arrays
        del arrays[key]
        if shape is not None:
            arrays[key] = np.broadcast_to(np.float32(0), shape)
    with pytest.raises(UserError) as error:
        sam_config(arrays, RELEASE, known or Hints(decoder_heads=HEADS))
    return str(error.value)


def test_what_says_the_size_is_missed_by_name_and_all_at_once():
    said = refused({TABLE.format(1, "h"): None, "image_encoder.neck.0.weight": None})
    assert said.startswith("2 arrays")
    assert TABLE.format(1, "h") in said
    assert "image_encoder.neck.0.weight" in said


def test_sizes_that_no_model_here_has_are_refused():
    both = [TABLE.format(1, axis) for axis in "hw"]
    assert "for 3 x 3 tokens; expected two sizes" in refused(dict.fromkeys(both, (5, 16)))
    first = [TABLE.format(0, axis) for axis in "hw"]
    swapped = dict.fromkeys(first, (7, 16)) | dict.fromkeys(both, (5, 16))
    assert "blocks 0 of 2 attend globally" in refused(swapped)
    assert "windows of 3 x 2 tokens" in refused({TABLE.format(0, "w"): (3, 16)})
    assert "takes patches of 16 x 8 pixels" in refused({"image_encoder.patch_embed.proj.weight": (32, 3, 16, 8)})
    assert "in 4 channels" in refused({"image_encoder.patch_embed.proj.weight": (32, 4, 16, 16)})
    assert "expected 4 axes" in refused({"image_encoder.pos_embed": (1, 16, 32)})
    assert "widens 32 channels to 100" in refused({"image_encoder.blocks.0.mlp.lin1.weight": (100, 32)})
    assert "expected a divisor of the width, 32" in refused({TABLE.format(0, "h"): (5, 12)})


def test_heads_of_a_narrower_decoder_are_asked_for():
    assert "give --decoder-heads" in refused({}, Hints())


@pytest.mark.parametrize(
    ("blocks", "fits"),
    [((1, 3), True), ((3,), True), ((0,), False), ((1, 2, 3), False), ((0, 3), False), ((1,), False), ((), False)],
)
def test_global_blocks_that_are_said_are_believed_where_they_form_groups(blocks, fits):
    """A window as large as the map looks like it: config.json says which is which."""
    config = dataclasses.replace(MICRO, image_encoder=dataclasses.replace(MICRO.image_encoder, depth=4, window=4))
    arrays = as_large_as(config, TRANSFORMERS)
    known = Hints(decoder_heads=HEADS, global_blocks=blocks)
    if fits:
        assert sam_config(arrays, TRANSFORMERS, known).image_encoder.global_every == 4 // len(blocks)
    else:
        with pytest.raises(UserError, match="attend globally; expected the last one of each"):
            sam_config(arrays, TRANSFORMERS, known)


@pytest.mark.parametrize("naming", WHOLE)
@pytest.mark.parametrize(
    ("depth", "every", "window"),
    [(2, 2, 4), (12, 3, 4), (24, 6, 4), (8, 2, 4), (6, 2, 4), (3, 3, 4), (2, 2, 5), (12, 3, 6), (4, 4, 14)],
)
def test_a_map_as_large_as_a_window_or_smaller(naming, depth, every, window):
    """As of 224 pixels: then a global block computes what a windowed one does, and the release's are taken."""
    encoder = dataclasses.replace(MICRO.image_encoder, depth=depth, global_every=every, window=window)
    config = dataclasses.replace(MICRO, image_encoder=encoder)
    assert sam_config(as_large_as(config, naming), naming, Hints(decoder_heads=HEADS)) == config


@pytest.mark.parametrize(("width", "depth"), [(64, 6), (96, 8)])
def test_vits_without_a_place_are_refused(width, depth):
    with pytest.raises(UserError, match="is not supported"):
        vit_config(vit(width=width, depth=depth))
