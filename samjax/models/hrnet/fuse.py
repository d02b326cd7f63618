"""Where high-resolution networks add up their branches (Sun et al. 2019, HRNet; Yuan et al. 2021, HRFormer)."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from samjax.models.hrnet.hrnet_sizes import Fuse
from samjax.nn.batch_norm import Training
from samjax.nn.conv_norm import ConvNorm
from samjax.nn.interpolate import Method, interpolate

Maps = tuple[Float[Array, "b _ _ _"], ...]


class DownStep(nnx.Module):
    """One halving on the way to a coarser branch; all but the last are rectified."""

    def __init__(self, inputs: int, outputs: int, *, fuse: Fuse, last: bool, dtype: jnp.dtype, rngs: nnx.Rngs):
        relu = None if last else jax.nn.relu
        if fuse is Fuse.DEPTHWISE:
            self.depthwise = ConvNorm(inputs, inputs, 3, stride=2, groups=inputs, dtype=dtype, rngs=rngs)
            self.mix = ConvNorm(inputs, outputs, 1, activation=relu, dtype=dtype, rngs=rngs)
        else:
            self.depthwise = None
            self.mix = ConvNorm(inputs, outputs, 3, stride=2, activation=relu, dtype=dtype, rngs=rngs)

    def __call__(self, x: Float[Array, "b h w c"], *, training: Training) -> Float[Array, "b th tw d"]:
        """Apply it to a map, whose sides are halved and rounded up."""
        if self.depthwise is not None:
            x = self.depthwise(x, training=training)
        return self.mix(x, training=training)


class FuseInto(nnx.Module):
    """Adds all branches to one of them, `target`; `widths` are the branches' channels, the finest first."""

    def __init__(self, widths: tuple[int, ...], target: int, *, fuse: Fuse, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.target, self.fuse, outputs = target, fuse, widths[target]
        self.down = nnx.List(
            [
                nnx.List(
                    [
                        DownStep(
                            width,
                            outputs if step == target - 1 else width,
                            fuse=fuse,
                            last=step == target - 1,
                            dtype=dtype,
                            rngs=rngs,
                        )
                        for step in range(branch, target)
                    ]
                )
                for branch, width in enumerate(widths[:target])
            ]
        )
        self.up = nnx.List([ConvNorm(width, outputs, 1, dtype=dtype, rngs=rngs) for width in widths[target + 1 :]])

    def __call__(self, maps: Maps, *, training: Training) -> Float[Array, "b h w d"]:
        """Return the target's map with all others added, rectified."""
        total = maps[self.target]
        size = (total.shape[1], total.shape[2])
        for steps, finer in zip(self.down, maps[: self.target], strict=True):
            for step in steps:
                finer = step(finer, training=training)
            total = total + finer
        for level, (convolve, coarser) in enumerate(zip(self.up, maps[self.target + 1 :], strict=True), start=1):
            total = total + self._enlarge(convolve(coarser, training=training), 2**level, size)
        return jax.nn.relu(total)

    def _enlarge(
        self, coarser: Float[Array, "b h w d"], factor: int, size: tuple[int, int]
    ) -> Float[Array, "b th tw d"]:
        if self.fuse is Fuse.DEPTHWISE:  # overshoots where a finer side is no multiple of the factor
            height, width = coarser.shape[1:3]
            coarser = interpolate(coarser, (height * factor, width * factor), method=Method.NEAREST)
        return interpolate(coarser, size, align_corners=True)
