"""The two-way transformer: prompt tokens and image attend to each other (Segment Anything, appendix A)."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Key

from samjax.models.sam.cross_attention import CrossAttention, Tokens
from samjax.models.sam.image_side import ImageSide, ImageTokens, Positions, of_masks
from samjax.models.sam.mask_sweep import CellKernel, MaskSweep, sweeps_cells
from samjax.nn.drop_path import dropout
from samjax.nn.init import DECODER_INIT
from samjax.nn.mlp import Mlp
from samjax.nn.norm import layer_norm
from samjax.nn.stack import layer, stack
from samjax.nn.token_attention import TokenAttention

_EPSILON = 1e-5  # of the decoder's norms; the encoder's are 1e-6


class TwoWayLayer(nnx.Module):
    """Token self-attention, tokens to image, MLP, image to tokens; post-norm."""

    def __init__(self, width: int, *, heads: int, hidden: int, dropout: float, dtype: jnp.dtype, rngs: nnx.Rngs):
        def norm() -> nnx.LayerNorm:
            return layer_norm(width, epsilon=_EPSILON, dtype=dtype, rngs=rngs)

        self.rate = dropout
        self.self_attention = TokenAttention(width, width, heads, dtype=dtype, rngs=rngs)
        self.norm1 = norm()
        self.token_to_image, self.norm2 = CrossAttention(width, heads, dtype=dtype, rngs=rngs), norm()
        self.mlp = Mlp(
            width, hidden, activation=jax.nn.relu, init=DECODER_INIT, axes=(None, None), dtype=dtype, rngs=rngs
        )
        self.norm3 = norm()
        self.image_to_token, self.norm4 = CrossAttention(width, heads, dtype=dtype, rngs=rngs), norm()

    def __call__(
        self,
        tokens: Tokens,
        image: ImageSide,
        *,
        token_positions: Tokens,
        image_positions: Positions,
        token_valid: Bool[Array, "b m t"],
        first: bool,
        key: Key[Array, ""] | None,
    ) -> tuple[Tokens, ImageTokens]:
        """Apply. The first layer's self-attention has neither positions nor a residual; values never have positions."""
        keys = _split(key, 4)
        tokens = self.attend_tokens(
            tokens, token_positions=token_positions, token_valid=token_valid, first=first, key=keys[0]
        )
        attended = self.token_to_image.to_image(tokens + token_positions, image, image_positions)
        tokens = self.update_tokens(tokens, attended, keys=(keys[1], keys[2]))

        attended = self.image_to_token.from_image(
            image, image_positions, tokens + token_positions, tokens, key_valid=token_valid
        )
        cells = self.norm4(image.tokens() + dropout(attended, self.rate, keys[3]))
        return of_masks(tokens), ImageTokens(cells=of_masks(cells))

    def attend_tokens(
        self,
        tokens: Tokens,
        *,
        token_positions: Tokens,
        token_valid: Bool[Array, "b m t"],
        first: bool,
        key: Key[Array, ""] | None,
    ) -> Tokens:
        """Attend among the tokens."""
        if first:
            attended = self.self_attention(tokens, tokens, tokens, key_valid=token_valid)
            return self.norm1(dropout(attended, self.rate, key))
        queries = tokens + token_positions
        attended = self.self_attention(queries, queries, tokens, key_valid=token_valid)
        return self.norm1(tokens + dropout(attended, self.rate, key))

    def update_tokens(self, tokens: Tokens, attended: Tokens, *, keys: Sequence[Key[Array, ""] | None]) -> Tokens:
        """Add what they found in the image, and the MLP."""
        tokens = self.norm2(tokens + dropout(attended, self.rate, keys[0]))
        return self.norm3(tokens + dropout(self.mlp(tokens), self.rate, keys[1]))


class TwoWayTransformer(nnx.Module):
    """Two-way layers, then a last attention from the tokens to the image."""

    def __init__(
        self,
        width: int,
        *,
        depth: int,
        heads: int,
        hidden: int,
        dropout: float,
        kernel: CellKernel = CellKernel.AUTO,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
    ):
        def make_layer(rngs: nnx.Rngs) -> TwoWayLayer:
            return TwoWayLayer(width, heads=heads, hidden=hidden, dropout=dropout, dtype=dtype, rngs=rngs)

        self.depth, self.heads, self.kernel = depth, heads, kernel
        self.rate = dropout
        self.layers = stack(make_layer, depth, rngs=rngs)
        self.final = CrossAttention(width, heads, dtype=dtype, rngs=rngs)
        self.norm = layer_norm(width, epsilon=_EPSILON, dtype=dtype, rngs=rngs)

    def __call__(
        self,
        tokens: Tokens,
        image: ImageSide,
        *,
        image_positions: Positions,
        token_valid: Bool[Array, "b m t"],
        key: Key[Array, ""] | None,
    ) -> tuple[Tokens, Float[Array, "b m i c"]]:
        """Return the tokens and the image embedding after attending to each other.

        Tokens where `token_valid` is False are keys to nobody, so that padding changes nothing; their own rows are
        to be ignored.
        """
        tokens = of_masks(tokens)
        positions = tokens  # the prompts themselves, added again wherever tokens are matched
        keys = _split(key, self.depth + 1)
        if sweeps_cells(self.kernel, image_positions, tokens=tokens.shape[2], heads=self.heads):
            return self._swept(tokens, image, image_positions=image_positions, token_valid=token_valid, keys=keys)
        for index in range(self.depth):
            tokens, image = layer(self.layers, index)(
                tokens,
                image,
                token_positions=positions,
                image_positions=image_positions,
                token_valid=token_valid,
                first=index == 0,
                key=keys[index],
            )
        attended = self.final.to_image(tokens + positions, image, image_positions)
        return self.norm(tokens + dropout(attended, self.rate, keys[-1])), image.tokens()

    def _swept(
        self,
        tokens: Tokens,
        image: ImageSide,
        *,
        image_positions: Positions,
        token_valid: Bool[Array, "b m t"],
        keys: Sequence[Key[Array, ""] | None],
    ) -> tuple[Tokens, Float[Array, "b m i c"]]:
        """Compute the same in one sweep over the cells a layer.

        What follows a layer's change of the cells, the next layer's attention to them or the last one, needs nothing
        but tokens that are known before: a sweep does both.
        """
        positions, sweep = tokens, MaskSweep(positions=image_positions, epsilon=_EPSILON, rate=self.rate)
        layers = [layer(self.layers, index) for index in range(self.depth)]
        layer_keys = [_split(key, 4) for key in keys[:-1]]
        among = {"token_positions": positions, "token_valid": token_valid}
        tokens = layers[0].attend_tokens(tokens, first=True, key=layer_keys[0][0], **among)
        cells = of_masks(image.tokens())
        sums = sweep.attend(cells, layers[0].token_to_image.image_queries(tokens + positions))
        attention = layers[0].token_to_image
        for index, this in enumerate(layers):
            tokens = this.update_tokens(tokens, attention.of_sums(sums), keys=layer_keys[index][1:3])
            change = this.image_to_token.change(tokens + positions, tokens, this.norm4, key_valid=token_valid)
            if index + 1 < self.depth:
                following = layers[index + 1]
                tokens = following.attend_tokens(tokens, first=False, key=layer_keys[index + 1][0], **among)
                attention = following.token_to_image
            else:
                attention = self.final
            queries = attention.image_queries(tokens + positions)
            cells, sums = sweep.change(cells, change, queries, key=layer_keys[index][3])
        return self.norm(tokens + dropout(attention.of_sums(sums), self.rate, keys[-1])), cells


def _split(key: Key[Array, ""] | None, count: int) -> list[Key[Array, ""] | None]:
    """Return as many keys, or as many None: no noise."""
    return [None] * count if key is None else list(jax.random.split(key, count))
