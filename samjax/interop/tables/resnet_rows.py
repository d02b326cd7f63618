"""A hybrid's residual network: which PyTorch key is which of our paths, as timm and transformers' BiT have them."""

from collections.abc import Mapping

from samjax.interop.axes import CONVOLUTION
from samjax.interop.mapping import Row
from samjax.interop.tables.conv_norm_rows import layer_rows, norm_rows
from samjax.interop.tables.vit_rows import Prefixes
from samjax.models.resnet import ResNetConfig

# By dialect.
_STEM_CONV, _STEM_NORM = ("stem.conv", "embedder.convolution"), ("stem.norm", "embedder.norm")
_BLOCK = ("stages.{stage}.blocks.{block}.", "encoder.stages.{stage}.layers.{block}.")
_CONVOLUTIONS = {
    "down": ("conv1", "norm1"),
    "mix": ("conv2", "norm2"),
    "up": ("conv3", "norm3"),
    "shortcut": ("downsample.conv", "downsample.norm"),
}
"""A block's convolutions and their norms, named alike in both."""


def resnet_rows(config: ResNetConfig, path: str, prefixes: Prefixes) -> list[Row]:
    """Return the rows of a `ResNet`.

    Args:
      config: which blocks there are depends on it.
      path: what its paths begin with, such as `resnet/`.
      prefixes: see `Prefixes`.
    """

    def begin(places: tuple[str, str], **numbers: int) -> dict[str, str]:
        return {
            layout: start + places[dialect.value].format(**numbers) for layout, (dialect, start) in prefixes.items()
        }

    def normed(ours: str, conv: Mapping[str, str], norm: Mapping[str, str], keys: tuple[str, str]) -> list[Row]:
        return [
            *layer_rows(f"{path}{ours}/conv", keys[0], CONVOLUTION, conv, bias=False),
            *norm_rows(f"{path}{ours}/norm", keys[1], norm),
        ]

    rows = normed("stem", begin(_STEM_CONV), begin(_STEM_NORM), ("", ""))
    for stage, depth in enumerate(config.depths):
        for block in range(depth):
            starts = begin(_BLOCK, stage=stage, block=block)
            for ours, keys in _CONVOLUTIONS.items():
                if ours != "shortcut" or block == 0:
                    rows += normed(f"stages/{stage}/{block}/{ours}", starts, starts, keys)
    return rows
