"""State dicts as others save them: a micro SAM in either naming, and plain ViTs."""

import dataclasses
import os

import numpy as np

from helpers.micro import micro_model
from samjax.core.tree import named_leaves, nest
from samjax.interop.mapping import Naming
from samjax.interop.tables.sam import SAM
from samjax.models.sam.mask_decoder import MaskDecoderConfig
from samjax.models.sam.sam import SamConfig
from samjax.nn.structure import array_shapes

MICRO = dataclasses.replace(
    micro_model(), mask_decoder=dataclasses.replace(micro_model().mask_decoder, dropout=MaskDecoderConfig().dropout)
)
"""No file says how much dropout there was, so an imported model has the default."""
HEADS = MICRO.mask_decoder.heads


def state_dict(naming: Naming, config: SamConfig = MICRO, seed: int = 0) -> dict[str, np.ndarray]:
    """Return a whole model's, every array drawn from N(0, 1)."""
    draw = np.random.default_rng(seed)
    arrays = nest(
        {path: draw.normal(size=shape).astype(np.float32) for path, shape in array_shapes(config.make).items()}
    )
    gaussian = arrays["prompt_encoder"].pop("position")
    return SAM.to_torch(arrays, {"prompt_encoder": {"position": gaussian}}, config, naming)


def as_large_as(config: SamConfig, naming: Naming) -> dict[str, np.ndarray]:
    """Return arrays with every key and shape of a model of `config`, and no memory behind them."""
    expected = array_shapes(config.make)
    return {
        key: np.broadcast_to(np.float32(0), entry.layout.torch_shape(expected[entry.path][len(entry.index) :]))
        for entry in SAM.entries(config, naming)
        for key in entry.keys
    }


def vit(*, width: int = 64, depth: int = 8, patch: int = 16, side: int = 4, class_token: bool = True, seed: int = 0):
    """Return a plain ViT's state dict in MAE's names, with what only its pretraining needs."""
    draw = np.random.default_rng(seed)

    def array(*shape: int) -> np.ndarray:
        return draw.normal(size=shape).astype(np.float32)

    state = {
        "pos_embed": array(1, side**2 + class_token, width),
        "patch_embed.proj.weight": array(width, 3, patch, patch),
        "patch_embed.proj.bias": array(width),
        "norm.weight": array(width),
        "decoder_blocks.0.attn.qkv.weight": array(3, 3),
        "mask_token": array(1, 1, 3),
    }
    if class_token:
        state["cls_token"] = array(1, 1, width)
    for block in range(depth):
        for name, shape in {
            "norm1": (width,),
            "attn.qkv": (3 * width, width),
            "attn.proj": (width, width),
            "norm2": (width,),
            "mlp.fc1": (4 * width, width),
            "mlp.fc2": (width, 4 * width),
        }.items():
            state[f"blocks.{block}.{name}.weight"] = array(*shape)
            state[f"blocks.{block}.{name}.bias"] = array(shape[0])
    return state


class Malicious:
    """Unpickled, it makes a folder."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


def assert_same(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> None:
    """The same keys, types and bits."""
    assert ours.keys() == theirs.keys()
    for key, array in theirs.items():
        assert ours[key].dtype == array.dtype, key
        np.testing.assert_array_equal(ours[key], array, err_msg=key)


def count(*trees) -> int:
    return sum(leaf.size for tree in trees for leaf in named_leaves(tree).values())
