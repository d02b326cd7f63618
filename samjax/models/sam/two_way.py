"""The two-way transformer: prompt tokens and image attend to each other (Segment Anything, appendix A)."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Key

from samjax.core.random import split_each
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
MaskKeys = Key[Array, "b m"]
_BRANCHES = 4  # of a layer, each with its dropout


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
        keys: Key[Array, "b m branches"] | None,
    ) -> tuple[Tokens, ImageTokens]:
        """Apply. The first layer's self-attention has neither positions nor a residual; values never have positions."""
        of_branch = _by_branch(keys, _BRANCHES)
        tokens = self.attend_tokens(
            tokens, token_positions=token_positions, token_valid=token_valid, first=first, keys=of_branch[0]
        )
        attended = self.token_to_image.to_image(tokens + token_positions, image, image_positions)
        tokens = self.update_tokens(tokens, attended, of_branch=of_branch)

        attended = self.image_to_token.from_image(
            image, image_positions, tokens + token_positions, tokens, key_valid=token_valid
        )
        cells = self.norm4(image.tokens() + dropout(attended, self.rate, of_branch[3]))
        return of_masks(tokens), ImageTokens(cells=of_masks(cells))

    def attend_tokens(
        self,
        tokens: Tokens,
        *,
        token_positions: Tokens,
        token_valid: Bool[Array, "b m t"],
        first: bool,
        keys: MaskKeys | None,
    ) -> Tokens:
        """Attend among the tokens."""
        if first:
            attended = self.self_attention(tokens, tokens, tokens, key_valid=token_valid)
            return self.norm1(dropout(attended, self.rate, keys))
        queries = tokens + token_positions
        attended = self.self_attention(queries, queries, tokens, key_valid=token_valid)
        return self.norm1(tokens + dropout(attended, self.rate, keys))

    def update_tokens(self, tokens: Tokens, attended: Tokens, *, of_branch: Sequence[MaskKeys | None]) -> Tokens:
        """Add what they found in the image, and the MLP."""
        tokens = self.norm2(tokens + dropout(attended, self.rate, of_branch[1]))
        return self.norm3(tokens + dropout(self.mlp(tokens), self.rate, of_branch[2]))


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
        keys: Key[Array, "b m"] | None,
    ) -> tuple[Tokens, Float[Array, "b m i c"]]:
        """Return the tokens and the image embedding after attending to each other.

        Tokens where `token_valid` is False are keys to nobody, so that padding changes nothing; their own rows are
        to be ignored.
        """
        tokens = of_masks(tokens)
        positions = tokens  # the prompts themselves, added again wherever tokens are matched
        branches = None if keys is None else split_each(keys, _BRANCHES * self.depth + 1)
        if sweeps_cells(self.kernel, image_positions, tokens=tokens.shape[2], heads=self.heads):
            of_branch = _by_branch(branches, _BRANCHES * self.depth + 1)
            return self._sweep(
                tokens, image, image_positions=image_positions, token_valid=token_valid, of_branch=of_branch
            )
        for index in range(self.depth):
            tokens, image = layer(self.layers, index)(
                tokens,
                image,
                token_positions=positions,
                image_positions=image_positions,
                token_valid=token_valid,
                first=index == 0,
                keys=None if branches is None else branches[..., _BRANCHES * index :][..., :_BRANCHES],
            )
        attended = self.final.to_image(tokens + positions, image, image_positions)
        attended = dropout(attended, self.rate, None if branches is None else branches[..., -1])
        return self.norm(tokens + attended), image.tokens()

    def _sweep(
        self,
        tokens: Tokens,
        image: ImageSide,
        *,
        image_positions: Positions,
        token_valid: Bool[Array, "b m t"],
        of_branch: Sequence[MaskKeys | None],
    ) -> tuple[Tokens, Float[Array, "b m i c"]]:
        """Compute the same in one sweep over the cells a layer.

        What follows a layer's change of the cells, the next layer's attention to them or the last one, needs nothing
        but tokens that are known before: a sweep does both.
        """
        positions, sweep = tokens, MaskSweep(positions=image_positions, epsilon=_EPSILON, rate=self.rate)
        layers = [layer(self.layers, index) for index in range(self.depth)]
        of_layer = [of_branch[_BRANCHES * index :][:_BRANCHES] for index in range(self.depth)]
        among = {"token_positions": positions, "token_valid": token_valid}
        tokens = layers[0].attend_tokens(tokens, first=True, keys=of_layer[0][0], **among)
        attention = layers[0].token_to_image
        cells, sums = sweep.attend(of_masks(image.tokens()), attention.image_queries(tokens + positions))
        for index, this in enumerate(layers):
            tokens = this.update_tokens(tokens, attention.of_sums(sums), of_branch=of_layer[index])
            change = this.image_to_token.change(tokens + positions, tokens, this.norm4, key_valid=token_valid)
            if index + 1 < self.depth:
                following = layers[index + 1]
                tokens = following.attend_tokens(tokens, first=False, keys=of_layer[index + 1][0], **among)
                attention = following.token_to_image
            else:
                attention = self.final
            queries = attention.image_queries(tokens + positions)
            cells, sums = sweep.change(cells, change, queries, keys=of_layer[index][3])
        return self.norm(tokens + dropout(attention.of_sums(sums), self.rate, of_branch[-1])), cells


def _by_branch(keys: Key[Array, "b m branches"] | None, count: int) -> list[MaskKeys | None]:
    """Return each branch's keys, or as many None: no noise."""
    return [None] * count if keys is None else list(jnp.moveaxis(keys, -1, 0))
