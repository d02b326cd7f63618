"""The table between PyTorch's keys and our paths: whole, exact in both directions, clear about what does not fit."""

import dataclasses
import math

import numpy as np
import pytest
from flax import nnx
from reference import SMALL, WIDE, reference
from released import released

from samjax.core.errors import UserError
from samjax.core.tree import named_leaves
from samjax.interop.tables.sam import SAM
from samjax.interop.tables.sam_rows import RELEASE, TRANSFORMERS
from samjax.models.sam.sam import SamConfig
from samjax.nn.structure import abstract_model

GAUSSIAN = "shared_image_embedding.positional_embedding"
GAUSSIAN_ALIAS = "prompt_encoder.shared_embedding.positional_embedding"


@pytest.fixture(scope="module")
def state():
    return {key: array.numpy() for key, array in reference(SMALL).state_dict().items()}


@pytest.mark.parametrize("naming", [TRANSFORMERS, RELEASE])
@pytest.mark.parametrize("config", [SMALL, WIDE], ids=["square", "wide"])
def test_there_and_back_is_the_same_bit_for_bit(config, naming):
    state = {key: array.numpy() for key, array in reference(config).state_dict().items()}
    state = released(state) if naming is RELEASE else state
    back = SAM.to_torch(*SAM.from_torch(state, config, naming), config, naming)
    assert back.keys() == state.keys()
    for key, array in state.items():
        np.testing.assert_array_equal(back[key], array, err_msg=key)
        assert back[key].dtype == np.float32


def test_every_element_lands_once(state):
    """Number all elements through: each number is here exactly once."""
    numbered, total = {}, 0
    for key in sorted(state.keys() - {GAUSSIAN_ALIAS}):
        numbered[key] = np.arange(total, total + state[key].size, dtype=np.float32).reshape(state[key].shape)
        total += state[key].size
    assert total < 2**24  # float32 counts that far
    params, buffers = SAM.from_torch(numbered, SMALL)
    leaves = [leaf.ravel() for tree in (params, buffers) for leaf in named_leaves(tree).values()]
    np.testing.assert_array_equal(np.sort(np.concatenate(leaves)), np.arange(total))


@pytest.mark.parametrize("naming", [TRANSFORMERS, RELEASE])
@pytest.mark.parametrize("config", [SamConfig.vit_b(), SamConfig.vit_h()], ids=["vit_b", "vit_h"])
def test_table_covers_the_papers_sizes(config, naming):
    """Every element of every parameter and buffer has one row, no two rows the same key or place."""
    _, params, buffers = abstract_model(config.make)
    shapes = {
        path: leaf.shape for tree in (params, buffers) for path, leaf in named_leaves(nnx.to_pure_dict(tree)).items()
    }
    rows = SAM.entries(config, naming)
    keys = [key for entry in rows for key in entry.keys]
    assert len(keys) == len(set(keys))
    assert len({(entry.path, entry.index) for entry in rows}) == len(rows)
    covered = dict.fromkeys(shapes, 0)
    for entry in rows:
        covered[entry.path] += math.prod(shapes[entry.path][len(entry.index) :])
    assert covered == {path: math.prod(shape) for path, shape in shapes.items()}


def test_one_key_of_a_shared_array_suffices_but_two_must_agree(state):
    """A saved file may keep a tied weight under either name."""
    for key in (GAUSSIAN, GAUSSIAN_ALIAS):
        _, buffers = SAM.from_torch({name: array for name, array in state.items() if name != key}, SMALL)
        np.testing.assert_array_equal(buffers["prompt_encoder"]["position"]["gaussian"], state[GAUSSIAN])
    with pytest.raises(UserError, match=f"{GAUSSIAN_ALIAS} differs from {GAUSSIAN}"):
        SAM.from_torch(state | {GAUSSIAN_ALIAS: state[GAUSSIAN] + 1}, SMALL)


def test_half_precision_is_widened_and_double_refused(state):
    key = "mask_decoder.iou_token.weight"
    params, _ = SAM.from_torch(state | {key: state[key].astype(np.float16)}, SMALL)
    np.testing.assert_array_equal(params["mask_decoder"]["iou_token"], state[key].astype(np.float16))
    assert params["mask_decoder"]["iou_token"].dtype == np.float32
    with pytest.raises(UserError, match=f"{key} is float64, expected float32"):
        SAM.from_torch(state | {key: state[key].astype(np.float64)}, SMALL)


def test_every_fault_of_a_state_dict_is_named_at_once(state):
    missing = ["vision_encoder.layers.4.attn.qkv.bias", "mask_decoder.output_hypernetworks_mlps.3.proj_in.weight"]
    broken = {key: array for key, array in state.items() if key not in missing}
    broken |= {"pixel_mean": np.zeros(3, np.float32), "vision_encoder.layers.6.layer_norm1.bias": np.zeros(96)}
    broken["vision_encoder.pos_embed"] = np.zeros((1, 64, 64, 96), np.float32)
    with pytest.raises(UserError) as error:
        SAM.from_torch(broken, SMALL)
    message = str(error.value)
    assert "(5 faults)" in message
    for key in missing:
        assert f"{key} is missing" in message
    assert "pixel_mean is unexpected" in message
    assert "vision_encoder.layers.6.layer_norm1.bias is unexpected" in message
    assert "vision_encoder.pos_embed has shape (1, 64, 64, 96), expected (1, 12, 12, 96)" in message


def test_every_fault_of_our_parameters_is_named_at_once(state):
    params, buffers = SAM.from_torch(state, SMALL)
    params["mask_decoder"]["iou_token"] = params["mask_decoder"]["iou_token"][:, :3]
    del params["prompt_encoder"]["no_mask"]
    with pytest.raises(UserError) as error:
        SAM.to_torch(params | {"head": np.zeros(1)}, buffers, SMALL)
    message = str(error.value)
    assert "(3 faults)" in message
    assert "mask_decoder/iou_token has shape (1, 3), expected (1, 64)" in message
    assert "prompt_encoder/no_mask is missing" in message
    assert "head is unexpected" in message


def test_weights_of_another_size_are_refused(state):
    deeper = dataclasses.replace(SMALL, image_encoder=dataclasses.replace(SMALL.image_encoder, depth=9))
    with pytest.raises(UserError, match=r"vision_encoder\.layers\.8\.mlp\.lin2\.weight is missing"):
        SAM.from_torch(state, deeper)
