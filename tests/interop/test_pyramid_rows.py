"""Keys of pyramid vision transformers: complete in every layout, and the authors', which no public package reads."""

import re

import jax.numpy as jnp
import numpy as np
import pytest

from samjax.interop.mapping import Naming, arrays_from_torch, arrays_to_torch, write_out
from samjax.interop.tables.pyramid_rows import AUTHORS, PVT, PVT_V2, SEGFORMER, pyramid_rows, pyramid_slots
from samjax.models.pyramid.pyramid import Pyramid, PyramidConfig
from samjax.nn.reduction_attention import Reduction
from samjax.nn.structure import array_shapes

SIZES = {"widths": (4, 8, 10, 16), "depths": (1, 2, 1, 1)}
MIT, V1 = PyramidConfig(**SIZES), PyramidConfig.pvt_tiny(**SIZES)
POOLED = PyramidConfig.pvt_v2_b1(**SIZES, reduction=Reduction.POOL)


def shapes_of(config: PyramidConfig) -> dict[str, tuple[int, ...]]:
    return array_shapes(lambda *, rngs: Pyramid(config, image_size=(64, 96), dtype=jnp.dtype("float32"), rngs=rngs))


def exported(name: str, config: PyramidConfig):
    """Drawn arrays, the table, and the state dict they give."""
    shapes, draw = shapes_of(config), np.random.default_rng(0)
    arrays = {path: draw.normal(size=shape).astype(np.float32) for path, shape in shapes.items()}
    rows = pyramid_rows(config, prefixes={name: "backbone."})
    table = write_out(rows, pyramid_slots(config), Naming(name=name, title=name, signs=()))
    return arrays, table, arrays_to_torch(table, arrays, shapes)


@pytest.mark.parametrize(
    ("name", "config"),
    [
        pytest.param(name, config, id=f"{name}-{kind}")
        for name, kind, config in (
            (AUTHORS, "mit", MIT),
            (AUTHORS, "v1", V1),
            (AUTHORS, "v2-li", POOLED),
            (SEGFORMER, "mit", MIT),
            (PVT, "v1", V1),
            (PVT_V2, "v2-li", POOLED),
        )
    ],
)
def test_every_array_goes_out_and_comes_back(name, config):
    arrays, table, state_dict = exported(name, config)
    back = arrays_from_torch(table, state_dict, shapes_of(config))
    assert back.keys() == arrays.keys()
    for path, array in arrays.items():
        np.testing.assert_array_equal(back[path], array, err_msg=path)
    assert all(key.startswith("backbone.") for key in state_dict)


def test_the_authors_keys():
    """Of SegFormer's files, and of PVT's with tables of positions; a key with its layer's number left out."""
    _, _, mit = exported(AUTHORS, MIT)
    layer = ["norm1", "attn.q", "attn.kv", "attn.proj", "norm2", "mlp.fc1", "mlp.dwconv.dwconv", "mlp.fc2"]
    for stage, depth in enumerate(SIZES["depths"], start=1):
        found = {key.rpartition(".")[0] for key in mit if key.startswith(f"backbone.block{stage}.")}
        reduced = [] if stage == 4 else ["attn.sr", "attn.norm"]
        assert found == {f"backbone.block{stage}.{i}.{one}" for i in range(depth) for one in (*layer, *reduced)}
    outside = {re.sub(r"\d", "N", key) for key in mit if ".block" not in key}
    parts = ("patch_embedN.proj", "patch_embedN.norm", "normN")
    assert outside == {f"backbone.{one}.{kind}" for one in parts for kind in ("weight", "bias")}
    _, _, v1 = exported(AUTHORS, V1)
    assert [v1[f"backbone.pos_embed{stage}"].shape for stage in (1, 2, 3, 4)] == [
        (1, 16 * 24, 4), (1, 8 * 12, 8), (1, 4 * 6, 10), (1, 1 + 2 * 3, 16),
    ]  # fmt: skip
    assert not any("dwconv" in key or re.search(r"backbone\.norm\d", key) for key in v1)
