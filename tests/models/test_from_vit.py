"""SAM's image encoder from a plain ViT: every block in its place, tables and kernel resized, all faults named."""

import dataclasses

import numpy as np
import pytest
from helpers.micro import micro_model

from samjax.core.errors import UserError
from samjax.core.tree import named_leaves
from samjax.models.sam.from_vit import block_place, encoder_from_vit, resize_encoder
from samjax.nn.resize import resize_kernel, resize_positions, resize_relative
from samjax.nn.structure import array_shapes

CONFIG = dataclasses.replace(micro_model(), image_encoder=dataclasses.replace(micro_model().image_encoder, depth=4))
EVERY, DEPTH, WIDTH = CONFIG.image_encoder.global_every, CONFIG.image_encoder.depth, CONFIG.image_encoder.width


def encoder_shapes(*, neck: bool) -> dict[str, tuple[int, ...]]:
    return {
        path.removeprefix("image_encoder/"): shape
        for path, shape in array_shapes(CONFIG.make).items()
        if path.startswith("image_encoder/") and (neck or "/neck/" not in path)
    }


def vit_arrays(*, tokens: int = 16, patch: int = 16, tables: bool = False) -> dict[str, np.ndarray]:
    """Return a plain ViT's arrays by path, drawn; positions in one row of `tokens`."""
    draw, arrays = np.random.default_rng(0), {}
    for path, shape in encoder_shapes(neck=False).items():
        if path.startswith("groups/"):
            _, folder, leaf = path.split("/", 2)
            if leaf.endswith("_positions") and not tables:
                continue
            for block in range(DEPTH):
                place, index = block_place(block, every=EVERY)
                if place == folder:
                    arrays[f"blocks/{block}/{leaf}"] = draw.normal(size=shape[len(index) :]).astype(np.float32)
        else:
            arrays[path] = draw.normal(size=shape).astype(np.float32)
    arrays["position"] = draw.normal(size=(tokens, WIDTH)).astype(np.float32)
    arrays["patch_embed/kernel"] = draw.normal(size=(patch, patch, 3, WIDTH)).astype(np.float32)
    return arrays


def test_arrays_of_the_right_size_stay_as_they_are():
    """Bit for bit, each block where the encoder looks for it."""
    arrays = vit_arrays(tables=True)
    fitted = encoder_from_vit(arrays, CONFIG)
    assert fitted.changes == ()
    found = named_leaves(fitted.params["image_encoder"])
    assert {path: leaf.shape for path, leaf in found.items()} == encoder_shapes(neck=False)
    for name, array in arrays.items():
        if name.startswith("blocks/"):
            _, block, leaf = name.split("/", 2)
            folder, index = block_place(int(block), every=EVERY)
            np.testing.assert_array_equal(found[f"groups/{folder}/{leaf}"][index], array, err_msg=name)
    np.testing.assert_array_equal(found["position"].reshape(-1, WIDTH), arrays["position"])
    np.testing.assert_array_equal(found["patch_embed/kernel"], arrays["patch_embed/kernel"])


def test_another_grid_and_patch_are_resized_and_tables_start_at_zero():
    arrays = vit_arrays(tokens=10, patch=14)  # 3 x 3 and a class token
    fitted = encoder_from_vit(arrays, CONFIG, class_rows=1)
    found = named_leaves(fitted.params["image_encoder"])
    expected = resize_positions(arrays["position"][1:].reshape(3, 3, WIDTH), (4, 4))
    np.testing.assert_array_equal(found["position"], expected)
    kernel = np.ascontiguousarray(arrays["patch_embed/kernel"].transpose(3, 2, 0, 1))
    np.testing.assert_array_equal(found["patch_embed/kernel"], resize_kernel(kernel, 16).transpose(2, 3, 1, 0))
    assert not found["groups/full/attention/row_positions"].any()
    assert sorted(fitted.changes) == sorted(
        [
            "position table: 3 x 3 to 4 x 4 tokens, bicubically",
            "patch embedding: 14 x 14 to 16 x 16 pixels, by pseudoinverse",
            f"{2 * DEPTH} relative position tables: there are none, they start at zero",
        ]
    )


def test_every_fault_is_named_at_once():
    arrays = vit_arrays()
    del arrays["blocks/2/norm1/bias"]
    arrays |= {"blocks/0/mlp/up/bias": np.zeros(3, np.float32), "blocks/4/norm1/bias": np.zeros(32, np.float32)}
    with pytest.raises(UserError) as error:
        encoder_from_vit(arrays, CONFIG)
    message = str(error.value)
    assert "(3 faults)" in message
    assert "blocks/2/norm1/bias is missing" in message
    assert "blocks/0/mlp/up/bias has shape (3,), expected (128,)" in message
    assert "blocks/4/norm1/bias is unexpected" in message


def test_what_cannot_be_resized_is_refused():
    with pytest.raises(UserError, match=r"shape \(19, 32\), expected a square of tokens"):
        encoder_from_vit(vit_arrays(tokens=19), CONFIG)
    with pytest.raises(UserError, match="takes patches of 32 x 32 pixels, and no kernel of 16 x 16 sees"):
        encoder_from_vit(vit_arrays(patch=32), CONFIG)


def test_sams_own_encoder_is_brought_to_another_frame():
    draw = np.random.default_rng(0)
    arrays = {path: draw.normal(size=shape).astype(np.float32) for path, shape in encoder_shapes(neck=True).items()}
    wide = dataclasses.replace(CONFIG, image_size=(96, 128))
    fitted = resize_encoder(arrays, wide)
    found = named_leaves(fitted.params["image_encoder"])
    whole = {"position", "groups/full/attention/row_positions", "groups/full/attention/column_positions"}
    for path in arrays.keys() - whole:
        np.testing.assert_array_equal(found[path], arrays[path], err_msg=path)
    np.testing.assert_array_equal(found["position"], resize_positions(arrays["position"], (6, 8)))
    rows = "groups/full/attention/row_positions"
    for group in range(DEPTH // EVERY):
        np.testing.assert_array_equal(found[rows][group], resize_relative(arrays[rows][group], 11))
    assert (
        fitted.changes[1] == f"{2 * DEPTH // EVERY} relative position tables: to the map's and the window's sides, "
        "linearly"
    )
