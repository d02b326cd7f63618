"""The two-way transformer: prompt tokens and image attend to each other (Segment Anything, appendix A)."""

import jax
from flax import nnx
from jaxtyping import Array, Bool, Float, Key

from samjax.models.sam.config import SamConfig
from samjax.models.sam.prompted_image import PromptedImage
from samjax.nn.drop_path import dropout
from samjax.nn.init import DECODER_INIT
from samjax.nn.mlp import Mlp
from samjax.nn.norm import layer_norm
from samjax.nn.stack import layer, stack
from samjax.nn.token_attention import TokenAttention

Tokens = Float[Array, "n t c"]
Image = Float[Array, "n i c"]

_EPSILON = 1e-5  # of the decoder's norms; the encoder's are 1e-6


def cross_attention(config: SamConfig, *, rngs: nnx.Rngs) -> TokenAttention:
    """Return an attention between tokens and image whose query and key projections start equal, and train apart.

    Both sides carry encodings of their places, which one projection keeps comparable: a click attends to the image
    around it from the first step, where two random projections have to learn to. On the demo's photos that is a
    held-out mIoU@8 of 0.32 after 330 steps against 0.12 (the paper's loss weights, peak rate 1e-3).
    """
    attention = TokenAttention(
        config.embedding,
        config.embedding // 2,
        config.mask_decoder.heads,
        dtype=config.compute_dtype,
        rngs=rngs,
    )
    attention.key.kernel[...] = attention.query.kernel[...]
    return attention


def project(
    linear: nnx.LinearGeneral, image: Image | PromptedImage, positions: Float[Array, "1 i c"] | None = None
) -> Float[Array, "n i e k"]:
    """Project the image side, with `positions` added to it."""
    if isinstance(image, PromptedImage):
        return image.project(linear, positions)
    return linear(image if positions is None else image + positions)


def image_tokens(image: Image | PromptedImage) -> Image:
    """Return the image side in full."""
    return image.tokens() if isinstance(image, PromptedImage) else image


def look(
    attention: TokenAttention, queries: Tokens, image: Image | PromptedImage, positions: Float[Array, "1 i c"]
) -> Tokens:
    """Attend from tokens to the image; its keys have positions, its values do not."""
    keys, values = project(attention.key, image, positions), project(attention.value, image)
    return attention.attend(attention.query(queries), keys, values)


class TwoWayLayer(nnx.Module):
    """Token self-attention, tokens to image, MLP, image to tokens; post-norm."""

    def __init__(self, config: SamConfig, *, rngs: nnx.Rngs):
        width, decoder, dtype = config.embedding, config.mask_decoder, config.compute_dtype

        def norm() -> nnx.LayerNorm:
            return layer_norm(width, epsilon=_EPSILON, dtype=dtype, rngs=rngs)

        self.rate = decoder.dropout
        self.self_attention = TokenAttention(width, width, decoder.heads, dtype=dtype, rngs=rngs)
        self.norm1 = norm()
        self.token_to_image, self.norm2 = cross_attention(config, rngs=rngs), norm()
        self.mlp = Mlp(width, decoder.hidden, activation=jax.nn.relu, init=DECODER_INIT, dtype=dtype, rngs=rngs)
        self.norm3 = norm()
        self.image_to_token, self.norm4 = cross_attention(config, rngs=rngs), norm()

    def __call__(
        self,
        tokens: Tokens,
        image: Image | PromptedImage,
        *,
        token_positions: Tokens,
        image_positions: Float[Array, "1 i c"],
        token_valid: Bool[Array, "n t"],
        first: bool,
        key: Key[Array, ""] | None,
    ) -> tuple[Tokens, Image]:
        """Apply. The first layer's self-attention has neither positions nor a residual; values never have positions."""
        keys = [None] * 4 if key is None else list(jax.random.split(key, 4))
        if first:
            attended = self.self_attention(tokens, tokens, tokens, key_valid=token_valid)
            tokens = dropout(attended, self.rate, keys[0])
        else:
            queries = tokens + token_positions
            attended = self.self_attention(queries, queries, tokens, key_valid=token_valid)
            tokens = tokens + dropout(attended, self.rate, keys[0])
        tokens = self.norm1(tokens)

        attended = look(self.token_to_image, tokens + token_positions, image, image_positions)
        tokens = self.norm2(tokens + dropout(attended, self.rate, keys[1]))
        tokens = self.norm3(tokens + dropout(self.mlp(tokens), self.rate, keys[2]))

        attention = self.image_to_token
        attended = attention.attend(
            project(attention.query, image, image_positions),
            attention.key(tokens + token_positions),
            attention.value(tokens),
            key_valid=token_valid,
        )
        image = self.norm4(image_tokens(image) + dropout(attended, self.rate, keys[3]))
        return tokens, image


class TwoWayTransformer(nnx.Module):
    """Two-way layers, then a last attention from the tokens to the image."""

    def __init__(self, config: SamConfig, *, rngs: nnx.Rngs):
        self.depth = config.mask_decoder.depth
        self.rate = config.mask_decoder.dropout
        self.layers = stack(lambda rngs: TwoWayLayer(config, rngs=rngs), self.depth, rngs=rngs)
        self.final = cross_attention(config, rngs=rngs)
        self.norm = layer_norm(config.embedding, epsilon=_EPSILON, dtype=config.compute_dtype, rngs=rngs)

    def __call__(
        self,
        tokens: Tokens,
        image: Image | PromptedImage,
        *,
        image_positions: Float[Array, "1 i c"],
        token_valid: Bool[Array, "n t"],
        key: Key[Array, ""] | None,
    ) -> tuple[Tokens, Image]:
        """Return the tokens and the image embedding after attending to each other.

        Tokens where `token_valid` is False are keys to nobody, so that padding changes nothing; their own rows are
        to be ignored.
        """
        positions = tokens  # the prompts themselves, added again wherever tokens are matched
        keys = [None] * (self.depth + 1) if key is None else list(jax.random.split(key, self.depth + 1))
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
        attended = look(self.final, tokens + positions, image, image_positions)
        return self.norm(tokens + dropout(attended, self.rate, keys[-1])), image_tokens(image)
