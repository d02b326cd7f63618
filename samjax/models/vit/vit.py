"""The plain vision transformer: a photo in, a map of tokens out (Dosovitskiy et al. 2021; ViTDet)."""

import enum

import einops
import jax.numpy as jnp
from flax import nnx
from jax.nn.initializers import Initializer
from jaxtyping import Array, Float, Key

from samjax.core.errors import UserError
from samjax.core.random import Rows
from samjax.core.ranges import CountOrNone, Pixels, config_class
from samjax.core.struct import struct
from samjax.core.tree import LayerIds
from samjax.models.multiples import check_multiples
from samjax.models.vit.blocks import BlocksConfig, apply_groups, stack_groups
from samjax.nn.conv_stem import ConvStem
from samjax.nn.init import VIT_INIT, Buffer, parameter
from samjax.nn.interpolate import Method, interpolate
from samjax.nn.norm import layer_norm
from samjax.nn.patch import Patchify
from samjax.nn.sin_cos import sin_cos_table
from samjax.parallel.sharding import constrain


class Positions(enum.Enum):
    """The position encoding added to each patch."""

    LEARNED = "learned"
    """A trained table."""
    SIN_COS = "sin_cos"
    """Fixed sines and cosines of column and row."""


class Stem(enum.Enum):
    """What makes tokens of pixels."""

    PATCHES = "patches"
    """One matrix product a patch."""
    CONVOLUTIONS = "convolutions"
    """3 x 3 convolutions of stride 2, see `nn.conv_stem`; the patch is a power of two. No other codebase has them."""


@config_class("model.encoder")
class VitConfig(BlocksConfig):
    """A plain ViT. The defaults are ViT-B/16 without a class token."""

    patch: Pixels = 16
    """Side of a patch, which becomes one token, in pixels."""
    patch_bias: bool = True
    """Whether the patch embedding has a bias."""
    stem: Stem = Stem.PATCHES
    """What makes tokens of pixels: one matrix product a patch, or 3 x 3 convolutions of stride 2."""
    positions: Positions = Positions.LEARNED
    """The position encoding added to each patch."""
    class_token: bool = False
    """Whether a learned token attends together with those of the photo; the blocks must then take sequences."""
    distillation_token: bool = False
    """Whether a second one does, DeiT's; it needs the first."""
    class_position: bool = False
    """Whether such tokens have positions of their own, as timm's have: the first of the table, which is then a
    sequence."""
    position_resize: Method | None = None
    """How the table of positions is resized for photos of another size than it was made for; None refuses those."""
    final_norm: bool = True
    """Whether a norm follows the last block."""
    taps: tuple[CountOrNone, ...] = ()
    """Blocks, numbered from 0 and rising, whose maps are returned beside the last one's."""

    def __post_init__(self):
        super().__post_init__()
        section = type(self).section  # type: ignore[attr-defined]
        if self.stem is Stem.CONVOLUTIONS and self.patch.bit_count() != 1:
            raise UserError(f"{section}.patch is {self.patch}; with stem CONVOLUTIONS it must be a power of two")
        if self.positions is Positions.SIN_COS:
            check_multiples((f"{section}.width", self.width, 4))
        if self.class_token and not self.takes_sequences:
            raise UserError(
                f"{section}.class_token is True, but a class token has no place on a map: set global_every to 1 and "
                "relative_positions to False"
            )
        if self.distillation_token and not self.class_token:
            raise UserError(f"{section}.distillation_token is True; it needs class_token True, which it comes after")
        if self.class_position and not (self.class_token and self.positions is Positions.LEARNED):
            raise UserError(
                f"{section}.class_position is True; it needs class_token True and positions LEARNED, of which it is one"
            )
        if any(tap >= self.depth for tap in self.taps) or list(self.taps) != sorted(set(self.taps)):
            raise UserError(f"{section}.taps are {self.taps}; give rising block numbers below the depth, {self.depth}")

    @property
    def extra_tokens(self) -> int:
        """Learned tokens that attend together with those of the photo."""
        return self.class_token + self.distillation_token

    def make(self, *, grid: tuple[int, int], dtype: jnp.dtype, rngs: nnx.Rngs) -> "Vit":
        """Return a model with initial parameters; see `Vit`."""
        return Vit(self, grid=grid, dtype=dtype, rngs=rngs)

    def layer_ids(self, prefix: str) -> LayerIds:
        """Return the layer of each parameter under `prefix` but the final norm's.

        Patch embedding, positions and learned tokens 0, block i i + 1 (BEiT; ViTDet).
        """
        first = ("patch_embed/*", "position*", "*_token")
        return (*((f"{prefix}/{name}", 0) for name in first), *super().layer_ids(prefix))


@struct
class VitFeatures:
    """A photo's tokens after the last block, and after the final norm if there is one."""

    map: Float[Array, "b gh gw d"]
    class_token: Float[Array, "b d"] | None
    taps: tuple[Float[Array, "b gh gw d"], ...]
    """Maps after the blocks of `VitConfig.taps`, without the final norm."""
    tap_tokens: tuple[Float[Array, "b d"], ...]
    """The class token after each of those blocks; none without a class token."""
    stem: tuple[Float[Array, "b _ _ _"], ...]
    """Maps after each convolution of a convolutional stem, the finest first."""


class Vit(nnx.Module):
    """A plain ViT.

    Args:
      config: its sizes.
      grid: (height, width) of the photos it sees, in patches; its position tables are made for it.
      inputs: channels of what it sees, 3 of a photo; or those of another network's map, cut into patches like a photo.
      dtype: of activations and matrix products. Parameters, softmax and the norms' statistics are float32.
      init: initialiser of the blocks' kernels, [inputs, outputs].
      patch_init: initialiser of the patch embedding's kernel, [patch, patch, inputs, outputs].
    """

    def __init__(
        self,
        config: VitConfig,
        *,
        grid: tuple[int, int],
        inputs: int = 3,
        dtype: jnp.dtype,
        init: Initializer = VIT_INIT,
        patch_init: Initializer = VIT_INIT,
        rngs: nnx.Rngs,
    ):
        self.config, self.grid, self.dtype = config, grid, dtype
        width, axes = config.width, (None, None, "embed")
        if config.stem is Stem.CONVOLUTIONS:
            self.patch_embed = ConvStem(inputs, width, config.patch, init=patch_init, dtype=dtype, rngs=rngs)
        else:
            self.patch_embed = Patchify(
                inputs, width, config.patch, init=patch_init, use_bias=config.patch_bias, dtype=dtype, rngs=rngs
            )
        if config.class_position:
            places = config.extra_tokens + grid[0] * grid[1]
            self.position = parameter(VIT_INIT, (places, width), axes=(None, "embed"), rngs=rngs)
        elif config.positions is Positions.LEARNED:
            self.position = parameter(VIT_INIT, (*grid, width), axes=axes, rngs=rngs)
        else:
            self.position = Buffer(sin_cos_table(grid, width), axes=axes)
        self.groups = stack_groups(config, grid=grid, dtype=dtype, init=init, rngs=rngs)

        def token(exists: bool) -> nnx.Param | None:
            return parameter(nnx.initializers.normal(0.02), (width,), axes=("embed",), rngs=rngs) if exists else None

        self.class_token, self.distillation_token = token(config.class_token), token(config.distillation_token)
        self.norm = layer_norm(width, epsilon=config.epsilon, dtype=dtype, rngs=rngs) if config.final_norm else None

    def embed(self, image: Float[Array, "b h w c"]) -> Float[Array, "b gh gw d"]:
        """Return the embedded patches of normalised photos, positions added."""
        return self._embed(image)[0]

    def _embed(self, image: Float[Array, "b h w c"]) -> tuple[Float[Array, "b gh gw d"], tuple[Array, ...]]:
        """Return the embedded patches, and the stem's maps."""
        if isinstance(self.patch_embed, ConvStem):
            tokens, maps = self.patch_embed.with_maps(image)
        else:
            tokens, maps = self.patch_embed(image), ()
        positions = self._positions((tokens.shape[1], tokens.shape[2])).astype(self.dtype)
        return constrain(tokens + positions, "batch", None, None, None), maps

    def _positions(self, grid: tuple[int, int]) -> Float[Array, "gh gw d"]:
        """Return the position of each patch of a photo of `grid` patches."""
        table, method = self.position[...], self.config.position_resize
        if self.config.class_position:
            table = table[self.config.extra_tokens :].reshape(*self.grid, -1)
        return table if method is None else interpolate(table[None], grid, method=method)[0]

    def _extra_tokens(self) -> Float[Array, "e d"]:
        """Return the learned tokens, positions added if they have any."""
        tokens = jnp.stack([one[...] for one in (self.class_token, self.distillation_token) if one is not None])
        return tokens + self.position[: len(tokens)] if self.config.class_position else tokens

    def attend(
        self, tokens: Float[Array, "b *places d"], *, key: Key[Array, ""] | None = None, rows: Rows | None = None
    ) -> tuple[Float[Array, "b *after d"], tuple[Float[Array, "b *after d"], ...]]:
        """Return embedded patches after the blocks and the final norm, and after each tapped block.

        Args:
          tokens: a map; or a sequence of any of a photo's patches, where the blocks take sequences. Learned tokens are
            put in front of the sequence, and stay there in the result.
          key: turns drop path on.
          rows: of a part of a batch, which photos of the whole batch it holds.
        """
        if self.class_token is not None:
            first = self._extra_tokens().astype(self.dtype)
            tokens = jnp.concatenate([jnp.broadcast_to(first, (tokens.shape[0], *first.shape)), tokens], axis=1)
        tokens, taps = apply_groups(self.groups, tokens, self.config, taps=self.config.taps, key=key, rows=rows)
        return tokens if self.norm is None else self.norm(tokens), taps

    def features(
        self, image: Float[Array, "b h w c"], *, key: Key[Array, ""] | None = None, rows: Rows | None = None
    ) -> VitFeatures:
        """Encode normalised photos; a `key` turns drop path on, `rows` is as for `attend`."""
        tokens, stem = self._embed(image)
        if self.class_token is None:
            tokens, taps = self.attend(tokens, key=key, rows=rows)
            return VitFeatures(map=tokens, class_token=None, taps=taps, tap_tokens=(), stem=stem)
        grid, extra = tokens.shape[1:3], self.config.extra_tokens
        tokens, taps = self.attend(einops.rearrange(tokens, "b h w d -> b (h w) d"), key=key, rows=rows)
        tokens_map, *taps_maps = (part[:, extra:].reshape(part.shape[0], *grid, -1) for part in (tokens, *taps))
        return VitFeatures(
            map=tokens_map,
            class_token=tokens[:, 0],
            taps=tuple(taps_maps),
            tap_tokens=tuple(tap[:, 0] for tap in taps),
            stem=stem,
        )
