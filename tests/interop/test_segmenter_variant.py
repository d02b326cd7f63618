"""Segmenter's variant.yml: what it says that no array does, and what it may not say."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.segmenter_cases import segmenter_table, small

from samjax.core.errors import UserError
from samjax.interop.family import Source
from samjax.interop.mapping import Naming, arrays_to_torch, write_out
from samjax.interop.tables.segmenter import SEGMENTER, SEGMENTER_AUTHORS
from samjax.interop.tables.segmenter_rows import AUTHORS
from samjax.nn.pixels import PixelStatistics
from samjax.nn.structure import array_shapes

VARIANT = """\
algorithm_kwargs:
  batch_size: 8
inference_kwargs: {im_size: 512, window_size: 512, window_stride: 512}
net_kwargs:
  backbone: vit_tiny_patch16_384
  d_model: 64
  decoder:
    drop_path_rate: 0.2
    dropout: 0.3
    n_cls: 3
    n_layers: 2
    name: mask_transformer
  distilled: false
  drop_path_rate: 0.1
  dropout: 0.0
  image_size: !!python/tuple
  - 64
  - 96
  n_cls: 3
  n_heads: 4
  n_layers: 2
  normalization: deit
  patch_size: 16
version: normal
"""


@pytest.fixture(scope="module")
def arrays():
    """The authors' arrays of a small model, 24 tokens and 4 heads."""
    config = small("mask")[0]
    config = replace(
        config, encoder=replace(config.encoder, width=64, heads=4), head=replace(config.head, head_channels=64)
    )
    rows, slots, _ = segmenter_table(config)
    shapes = array_shapes(config.make)
    draw = np.random.default_rng(0)
    ours = {path: draw.normal(size=shape).astype(np.float32) for path, shape in shapes.items()}
    return arrays_to_torch(write_out(rows, slots, Naming(name=AUTHORS, title="", signs=())), ours, shapes)


def read(arrays, folder, text: str):
    (folder / "variant.yml").write_text(text)
    return SEGMENTER.read(
        Source(name=f"{folder}/checkpoint.pth", naming=SEGMENTER_AUTHORS, arrays=arrays, folder=folder)
    )


def test_it_says_what_arrays_do_not(arrays, tmp_path):
    """Heads of another number than one per 64 channels, a frame that is no square, rates, and DeiT's statistics of a
    model without its token."""
    reading = read(arrays, tmp_path, VARIANT)
    config = reading.config
    assert (config.image_size, config.encoder.heads, config.encoder.drop_path) == ((64, 96), 4, 0.1)
    assert (config.head.drop_path, config.head.dropout) == (0.2, 0.3)
    assert config.pixel_statistics is PixelStatistics.IMAGENET
    assert not any("no array says" in note for note in reading.notes)


@pytest.mark.parametrize(
    ("now", "then", "said"),
    [
        ("patch_size: 16", "patch_size: 8", r"variant.yml: net_kwargs.patch_size is 8, but the arrays .* of 16"),
        ("  n_cls: 3\n  n_heads", "  n_cls: 4\n  n_heads", r"net_kwargs.n_cls is 4, but the arrays .* of 3"),
        ("n_layers: 2\n    name", "n_layers: 1\n    name", r"net_kwargs.decoder.n_layers is 1, but .* of 2"),
        ("name: mask_transformer", "name: linear", r"decoder.name is 'linear', but .* of 'mask_transformer'"),
        ("  - 96", "  - 64", r"variant.yml: net_kwargs.image_size is \(64, 64\), but .*pos_embed has positions of 24"),
        ("n_heads: 4", "n_heads: many", r"net_kwargs.n_heads is 'many', expected a count"),
        ("normalization: deit", "normalization: photo", r"normalization is 'photo', expected vit or deit"),
        ("net_kwargs:", "net:", r"variant.yml has no net_kwargs"),
        ("version: normal", "version: !!python/object/apply:os.getcwd []", r"is not plain YAML .*os.getcwd"),
        ("version: normal", "version: " + "[" * 1500, r"is not plain YAML"),
        ("version: normal", "# " + "x" * (1 << 16), r"has 65,\d+ bytes, expected at most 65,536"),
    ],
)
def test_what_it_may_not_say_is_one_sentence(now, then, said, arrays, tmp_path):
    assert VARIANT.count(now) == 1
    with pytest.raises(UserError, match=said) as error:
        read(arrays, tmp_path, VARIANT.replace(now, then))
    assert str(tmp_path) in str(error.value)
