"""The part that DPT's heads share (Ranftl et al. 2021): four maps, brought to strides of 4 to 32, are fused."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from samjax.core.errors import UserError
from samjax.core.ranges import Count, CountOrNone, config_class
from samjax.models.backbone import BackboneConfig
from samjax.nn.batch_norm import BatchNorm, Training
from samjax.nn.init import DECODER_INIT
from samjax.nn.interpolate import interpolate
from samjax.nn.patch import Unpatchify, as_map

STRIDES = (4, 8, 16, 32)
"""Pixels of the photo to a pixel of each map when they are fused."""


@config_class("model.head")
class DptFusionSizes:
    """Sizes of the fusion. The defaults are DPT-Base's."""

    width: Count = 256
    """Channels of the fused maps."""
    map_widths: tuple[CountOrNone, CountOrNone, CountOrNone, CountOrNone] = (96, 192, 384, 768)
    """Channels that a linear layer brings each map to before it is resized to its stride, 4, 8, 16 or 32. 0 takes the
    map as it is, which then has that stride, as the first two of DPT-Hybrid."""

    def check_strides(self, strides: tuple[int, ...]) -> None:
        """Refuse maps of these strides.

        Raises:
          UserError: a map cannot be brought to the stride that it is fused at.
        """
        for number, (stride, target, channels) in enumerate(zip(strides, STRIDES, self.map_widths, strict=True)):
            resizes = stride % target == 0 or 2 * stride == target
            if stride != target and not (channels and resizes):
                way_out = "must be it" if not channels else "must be a multiple of it, or half of it"
                raise UserError(
                    f"map {number} of model.encoder has a stride of {stride}, but model.head fuses it at {target}: the "
                    f"stride {way_out} where model.head.map_widths[{number}] is {channels}"
                )


def conv3x3(
    inputs: int, outputs: int, *, stride: int = 1, use_bias: bool = True, dtype: jnp.dtype, rngs: nnx.Rngs
) -> nnx.Conv:
    """Return a 3 x 3 convolution that keeps the map's size, or divides it by `stride`."""
    return nnx.Conv(
        inputs,
        outputs,
        (3, 3),
        strides=stride,
        padding=1,
        use_bias=use_bias,
        kernel_init=DECODER_INIT,
        kernel_metadata={"axes": (None, None, None, "embed")},
        dtype=dtype,
        rngs=rngs,
    )


def pointwise(inputs: int, outputs: int, *, dtype: jnp.dtype, rngs: nnx.Rngs) -> nnx.Linear:
    """Return a 1 x 1 convolution."""
    return nnx.Linear(
        inputs,
        outputs,
        kernel_init=DECODER_INIT,
        kernel_metadata={"axes": ("embed", None)},
        dtype=dtype,
        rngs=rngs,
    )


def double(maps: Float[Array, "b h w c"]) -> Float[Array, "b th tw c"]:
    """Return maps twice as large on each side, the corners' centres in place."""
    return interpolate(maps, (2 * maps.shape[1], 2 * maps.shape[2]), align_corners=True)


class Reassemble(nnx.Module):
    """A map brought to `channels`, and from its stride to another: enlarged, halved, or left as large as it is."""

    def __init__(self, inputs: int, channels: int, *, stride: int, target: int, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.project = pointwise(inputs, channels, dtype=dtype, rngs=rngs)
        if stride > target:
            factor = stride // target
            self.resize = Unpatchify(
                channels, channels, factor, init=DECODER_INIT, axis="embed", dtype=dtype, rngs=rngs
            )
        else:
            self.resize = conv3x3(channels, channels, stride=2, dtype=dtype, rngs=rngs) if stride < target else None

    def __call__(self, tokens: Float[Array, "b h w d"]) -> Float[Array, "b th tw c"]:
        """Return the map."""
        tokens = self.project(tokens)
        if isinstance(self.resize, Unpatchify):
            return as_map(self.resize(tokens))
        return tokens if self.resize is None else self.resize(tokens)


class ResidualUnit(nnx.Module):
    """Two 3 x 3 convolutions of rectified maps, each with a batch norm if there are any; the input is added."""

    def __init__(self, width: int, *, batch_norm: bool, dtype: jnp.dtype, rngs: nnx.Rngs):
        def conv() -> nnx.Conv:
            return conv3x3(width, width, use_bias=not batch_norm, dtype=dtype, rngs=rngs)

        def norm() -> BatchNorm | None:
            return BatchNorm(width, dtype=dtype, rngs=rngs) if batch_norm else None

        self.conv1, self.norm1 = conv(), norm()
        self.conv2, self.norm2 = conv(), norm()

    def __call__(self, maps: Float[Array, "b h w c"], *, training: Training) -> Float[Array, "b h w c"]:
        """Return the map; `training` is as for `BatchNorm`."""
        hidden = maps
        for conv, norm in ((self.conv1, self.norm1), (self.conv2, self.norm2)):
            hidden = conv(jax.nn.relu(hidden))
            if norm is not None:
                hidden = norm(hidden, training=training)
        return hidden + maps


class FusionBlock(nnx.Module):
    """Adds a map to the fused deeper ones, mixes, and doubles the sides. The deepest map has none to be added to."""

    def __init__(self, width: int, *, is_deepest: bool, batch_norm: bool, dtype: jnp.dtype, rngs: nnx.Rngs):
        def unit() -> ResidualUnit:
            return ResidualUnit(width, batch_norm=batch_norm, dtype=dtype, rngs=rngs)

        self.unit1 = None if is_deepest else unit()
        self.unit2 = unit()
        self.out = pointwise(width, width, dtype=dtype, rngs=rngs)

    def __call__(
        self, own: Float[Array, "b h w c"], deeper: Float[Array, "b h w c"] | None, *, training: Training
    ) -> Float[Array, "b th tw c"]:
        """Return the fused map. Its last layer goes before enlarging, which it commutes with: that costs a quarter."""
        fused = own if self.unit1 is None or deeper is None else deeper + self.unit1(own, training=training)
        return double(self.out(self.unit2(fused, training=training)))


class DptFusion(nnx.Module):
    """Four maps, the finest first, in; the fused maps, each of twice the resolution it is fused at, out."""

    def __init__(
        self, sizes: DptFusionSizes, *, encoder: BackboneConfig, batch_norm: bool, dtype: jnp.dtype, rngs: nnx.Rngs
    ):
        sizes.check_strides(encoder.strides)
        levels = list(zip(encoder.channels, encoder.strides, sizes.map_widths, STRIDES, strict=True))
        self.reassemble = nnx.List(
            [
                Reassemble(inputs, channels, stride=stride, target=target, dtype=dtype, rngs=rngs) if channels else None
                for inputs, stride, channels, target in levels
            ]
        )
        self.narrow = nnx.List(
            [
                conv3x3(channels or inputs, sizes.width, use_bias=False, dtype=dtype, rngs=rngs)
                for inputs, _, channels, _ in levels
            ]
        )
        self.blocks = nnx.List(
            [
                FusionBlock(
                    sizes.width, is_deepest=level == len(levels) - 1, batch_norm=batch_norm, dtype=dtype, rngs=rngs
                )
                for level in range(len(levels))
            ]
        )

    def __call__(
        self, maps: tuple[Float[Array, "b _ _ _"], ...], *, training: Training
    ) -> tuple[Float[Array, "b _ _ c"], ...]:
        """Return the fused maps, the finest first: it is half as large as the photo.

        Raises:
          UserError: two maps that are to be added differ in size, since a side of the photo is no multiple of 32.
        """
        fused, deeper = [], None
        for reassemble, narrow, block, one in list(zip(self.reassemble, self.narrow, self.blocks, maps, strict=True))[
            ::-1
        ]:
            own = narrow(one if reassemble is None else reassemble(one))
            if deeper is not None and own.shape != deeper.shape:
                raise UserError(
                    f"DPT's head adds maps of {deeper.shape[1:3]} and {own.shape[1:3]} tokens; give photos whose sides "
                    f"are multiples of {STRIDES[-1]}"
                )
            deeper = block(own, deeper, training=training)
            fused.append(deeper)
        return tuple(fused[::-1])
