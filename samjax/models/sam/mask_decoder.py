"""From an image embedding and prompts to masks and their estimated IoU (Segment Anything, appendix A)."""

import functools
from dataclasses import dataclass

import einops
import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Float32, Key

from samjax.core.prompts import MaskOutput
from samjax.core.ranges import Count, DropRate, config_class
from samjax.models.sam.details import CellDetails, split_details
from samjax.models.sam.image_side import PromptedImage
from samjax.models.sam.mask_sweep import CellKernel
from samjax.models.sam.pixel_order import rows_of_cells
from samjax.models.sam.prompt_encoder import PromptEmbedding
from samjax.models.sam.two_way import TwoWayTransformer
from samjax.nn.init import DECODER_INIT, parameter
from samjax.nn.mlp import gelu
from samjax.nn.norm import layer_norm
from samjax.nn.patch import Unpatchify
from samjax.nn.stack import stack
from samjax.parallel.sharding import platform

MASK_TOKENS = 4


class Head(nnx.Module):
    """A three-layer perceptron on a token."""

    def __init__(self, width: int, outputs: int, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        def linear(inputs: int, outputs: int) -> nnx.Linear:
            return nnx.Linear(inputs, outputs, kernel_init=DECODER_INIT, dtype=dtype, rngs=rngs)

        self.layer1, self.layer2, self.layer3 = linear(width, width), linear(width, width), linear(width, outputs)

    def __call__(self, token: Float[Array, "*n c"]) -> Float[Array, "*n o"]:
        """Apply to each token."""
        return self.layer3(jax.nn.relu(self.layer2(jax.nn.relu(self.layer1(token)))))


class Upscaler(nnx.Module):
    """The image embedding at four times its resolution and an eighth of its channels.

    The sixteen pixels of a cell stay together, y and x in the cell as two bits each. To lay them out in rows would move
    every channel of every pixel; once they are logits there are few to move.
    """

    def __init__(self, width: int, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.conv1 = Unpatchify(width, width // 4, init=DECODER_INIT, dtype=dtype, rngs=rngs)
        self.norm = layer_norm(width // 4, epsilon=1e-6, dtype=dtype, rngs=rngs)
        self.conv2 = Unpatchify(width // 4, width // 8, init=DECODER_INIT, dtype=dtype, rngs=rngs)

    def __call__(
        self, cells: Float[Array, "b m i c"], details: CellDetails | None = None
    ) -> Float[Array, "b m i 2 2 2 2 o"]:
        """Upscale, with the photo's details added to the pixels of each resolution."""
        coarse, fine = (0, 0) if details is None else (details.coarse, details.fine)
        return gelu(self.conv2(gelu(self.norm(self.conv1(cells) + coarse))) + fine)


@dataclass(frozen=True, kw_only=True)
class DecodedMasks:
    """Masks before their logits are computed: of each object's four, a round of training needs one or three.

    A mask's logits are the products of its hypernetwork's output, `weights`, with the object's map, whose i cells are a
    `grid` of (h, w).
    """

    grid: tuple[int, int]
    weights: Float[Array, "b m k o"]
    upscaled_map: Float[Array, "b m i 2 2 2 2 o"]
    iou: Float32[Array, "b m k"]

    def single(self) -> MaskOutput:
        """Paint token 0 alone, k = 1."""
        return self._paint(slice(1))

    def candidates(self) -> MaskOutput:
        """Paint tokens 1 to 3, k = 3."""
        return self._paint(slice(1, MASK_TOKENS))

    def every(self) -> MaskOutput:
        """Paint all four."""
        return self._paint(slice(MASK_TOKENS))

    def _paint(self, tokens: slice) -> MaskOutput:
        weights = self.weights[:, :, tokens]
        multiply = functools.partial(jnp.einsum, preferred_element_type=jnp.float32)
        if platform() == "cpu":
            # Masks first, XLA would transpose the map within the activation that makes it, which then takes twice as
            # long. Masks last, a TPU would pad the few of them to its lanes.
            logits = jnp.moveaxis(multiply("bmko,bmiyxvuo->bmiyxvuk", weights, self.upscaled_map), -1, 2)
        else:
            logits = multiply("bmko,bmiyxvuo->bmkiyxvu", weights, self.upscaled_map)
        return MaskOutput(logits=rows_of_cells(logits, self.grid), iou=self.iou[:, :, tokens])


@config_class("model.mask_decoder")
class MaskDecoderConfig:
    """Two-way transformer and mask heads (Segment Anything, appendix A)."""

    depth: Count = 2
    """Number of two-way blocks."""
    heads: Count = 8
    """Number of attention heads of a block."""
    hidden: Count = 2048
    """Hidden units of a block's MLP."""
    dropout: DropRate = 0.1
    """On every residual branch in training. The paper's value; the released inference code has none."""
    image_cells: CellKernel = CellKernel.AUTO
    """How the two-way blocks work on a mask's image cells."""


class MaskDecoder(nnx.Module):
    """Decodes every prompted mask of every image; objects are independent of each other.

    The parameters, 4 million in the published models, are replicated, and each device decodes its own masks. Sharded
    parameters would be gathered in every round, and their gradients would gather the tokens of all masks of the mesh.
    """

    def __init__(self, config: MaskDecoderConfig, *, embedding: int, dtype: jnp.dtype, rngs: nnx.Rngs):
        width = embedding
        normal = nnx.initializers.normal(1.0)
        self.dtype = dtype
        self.iou_token = parameter(normal, (1, width), axes=(None, None), rngs=rngs)
        self.mask_tokens = parameter(normal, (MASK_TOKENS, width), axes=(None, None), rngs=rngs)
        self.transformer = TwoWayTransformer(
            width,
            depth=config.depth,
            heads=config.heads,
            hidden=config.hidden,
            dropout=config.dropout,
            kernel=config.image_cells,
            dtype=dtype,
            rngs=rngs,
        )
        self.upscaler = Upscaler(width, dtype=dtype, rngs=rngs)
        self.hypernetworks = stack(lambda rngs: Head(width, width // 8, dtype=dtype, rngs=rngs), MASK_TOKENS, rngs=rngs)
        self.iou_head = Head(width, MASK_TOKENS, dtype=dtype, rngs=rngs)

    def __call__(
        self,
        image: Float[Array, "b h w d"],
        prompts: PromptEmbedding,
        *,
        image_positions: Float[Array, "h w c"],
        keys: Key[Array, "b m"] | None = None,
    ) -> DecodedMasks:
        """Decode m prompted masks in each of b images; a key for each mask turns dropout on.

        The channels of `image` are those of the embedding, with or without details behind them.
        """
        embedding, details = split_details(
            einops.rearrange(image, "b h w d -> b (h w) d").astype(self.dtype), self.iou_token.shape[-1]
        )
        own = jnp.concatenate([self.iou_token[...], self.mask_tokens[...]])
        own = jnp.broadcast_to(own, (*prompts.sparse.shape[:2], *own.shape))
        tokens, cells = self.transformer(
            jnp.concatenate([own, prompts.sparse], axis=2).astype(self.dtype),
            PromptedImage(image=embedding, prompt=prompts.dense),
            image_positions=einops.rearrange(image_positions, "h w c -> 1 (h w) c").astype(self.dtype),
            token_valid=jnp.pad(prompts.sparse_valid, ((0, 0), (0, 0), (1 + MASK_TOKENS, 0)), constant_values=True),
            keys=keys,
        )
        weights = jax.vmap(lambda head, token: head(token), in_axes=(0, 2), out_axes=2)(
            self.hypernetworks, tokens[:, :, 1 : 1 + MASK_TOKENS]
        )
        return DecodedMasks(
            grid=(image.shape[1], image.shape[2]),
            weights=weights,
            upscaled_map=self.upscaler(cells, details),
            iou=self.iou_head(tokens[:, :, 0]).astype(jnp.float32),
        )
