"""Floating-point operations of a training step, counted from the configuration. A multiply-add is two.

Matrix products alone: norms, softmax, losses, the annotator and the encodings of places add under a hundredth. Not
asked of the compiler, which counts the body of a scan once.
"""

import dataclasses
import enum
import itertools
import math
from dataclasses import dataclass

from samjax.models.sam.image_encoder import ImageEncoderConfig
from samjax.models.sam.sam import SamConfig
from samjax.models.vit.vit import Stem
from samjax.nn.conv_stem import stem_channels
from samjax.nn.window import windows_along

PROMPT_TOKENS = 2
"""Of a first prompt: a point and its padding, or a box's corners. The slots of nine clicks add 5% to the decoder."""
_OWN_TOKENS = 5  # of the decoder: one for the IoU, four for masks
_BACKWARD = 2  # times the forward pass: the gradient of each product's two operands


class Form(enum.Enum):
    """Which of the equivalent ways to compute the same model is counted."""

    MINIMUM = "minimum"
    """Windows project the tokens of the photo, not their padding. The decoder's first projections of the image, being
    linear, are done once a photo; what a mask adds is the product of its few mask prompt channels. The denominator of
    model FLOPs utilisation."""
    COMPUTED = "computed"
    """As the program does it: MINIMUM, and the image is projected for its masks in no layer of the decoder; the tokens
    pass through the projections instead (`image_side`). Fewer than MINIMUM where a mask has fewer tokens than a head
    has channels."""
    PLAIN = "plain"
    """As published: padding is projected, and every mask of every round projects the whole image."""


class _Parts:
    @property
    def total(self) -> int:
        """The sum of the parts."""
        return sum(getattr(self, field.name) for field in dataclasses.fields(self))  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class EncoderFlops(_Parts):
    """A photo's forward pass through the image encoder, by part."""

    patch_embedding: int
    projections: int
    """Queries, keys, values and output."""
    windowed_attention: int
    """Scores, relative positions and weighted sums; padded keys take part, so they count."""
    global_attention: int
    mlp: int
    neck: int


@dataclass(frozen=True, kw_only=True)
class DecoderFlops(_Parts):
    """A photo's forward passes through the mask decoder and the mask prompts, by part."""

    mask_downscaler: int
    image_projections: int
    """Of the image to the channels of the attentions with the tokens, and back."""
    cross_attention: int
    """Scores and weighted sums between tokens and image."""
    tokens: int
    """Everything that touches the tokens alone: their projections, attention and MLP."""
    upscaler: int
    heads: int
    """Hypernetworks, their product with the upscaled image, and the estimate of IoU."""


@dataclass(frozen=True, kw_only=True)
class PhotoFlops:
    """What a photo costs."""

    encoder: EncoderFlops
    decoder: DecoderFlops

    @property
    def forward(self) -> int:
        """FLOP of the forward pass."""
        return self.encoder.total + self.decoder.total

    @property
    def training(self) -> int:
        """FLOP of forward and backward passes, without anything computed twice to save memory."""
        return (1 + _BACKWARD) * self.forward


def photo_flops(
    config: SamConfig, *, masks: int, rounds: int, prompts: int = PROMPT_TOKENS, form: Form = Form.MINIMUM
) -> PhotoFlops:
    """Return what a photo costs with `masks` masks, each decoded `rounds` times.

    Args:
      config: the model.
      masks: masks a photo.
      rounds: decoder iterations of the annotator; each is counted with a mask prompt.
      prompts: prompt tokens a mask.
      form: see `Form`.
    """
    return PhotoFlops(
        encoder=encoder_flops(config, form=form),
        decoder=decoder_flops(config, masks=masks, rounds=rounds, prompts=prompts, form=form),
    )


def encoder_flops(config: SamConfig, *, form: Form = Form.MINIMUM) -> EncoderFlops:
    """Return what a photo costs in the image encoder, forward."""
    encoder = config.image_encoder
    width, window = encoder.width, encoder.window
    tokens = math.prod(config.grid)
    padded = math.prod(windows_along(side, window) * window for side in config.grid)
    full_blocks = encoder.depth // encoder.global_every
    windowed_blocks = encoder.depth - full_blocks

    projected = padded if form is Form.PLAIN else tokens
    return _doubled(
        EncoderFlops(
            patch_embedding=_stem(encoder, tokens),
            projections=4 * width**2 * (windowed_blocks * projected + full_blocks * tokens),
            windowed_attention=windowed_blocks * _map_attention(padded, (window, window), width),
            global_attention=full_blocks * _map_attention(tokens, config.grid, width),
            mlp=encoder.depth * tokens * 2 * encoder.mlp_ratio * width**2,
            neck=tokens * (width * config.embedding + 9 * config.embedding**2 + _details(config)),
        )
    )


def _stem(encoder: ImageEncoderConfig, tokens: int) -> int:
    """Return the products that make a photo's tokens of its pixels."""
    if encoder.stem is Stem.PATCHES:
        return tokens * encoder.patch**2 * 3 * encoder.width
    channels = stem_channels(3, encoder.width, encoder.patch)
    pairs = enumerate(itertools.pairwise(channels), 1)
    convolutions = (9 * of * to * tokens * encoder.patch**2 // 4**stage for stage, (of, to) in pairs)
    return sum(convolutions) + tokens * channels[-1] * encoder.width


def _details(config: SamConfig) -> int:
    """Return the multiply-adds of a cell's details."""
    if not config.details:
        return 0
    *_, fine, coarse, _ = stem_channels(3, config.image_encoder.width, config.image_encoder.patch)
    return coarse * 4 * (config.embedding // 4) + fine * 16 * (config.embedding // 8)


def decoder_flops(
    config: SamConfig, *, masks: int, rounds: int, prompts: int = PROMPT_TOKENS, form: Form = Form.MINIMUM
) -> DecoderFlops:
    """Return what a photo costs in the mask decoder and the mask prompts, forward."""
    width, inner, hidden = config.embedding, config.embedding // 2, config.mask_decoder.hidden
    depth = config.mask_decoder.depth
    pixels = math.prod(config.grid)
    tokens = _OWN_TOKENS + prompts
    channels = config.mask_prompt_channels
    calls = masks * rounds

    attentions = 2 * depth + 1
    of_tokens = depth * tokens * (4 * width**2 + 2 * tokens * width + 2 * width * hidden)
    of_tokens += attentions * tokens * 2 * width * inner

    # A layer projects the image to keys, values and queries, and its attended map back; the last attention to keys
    # and values. The first layer's first three see image plus mask prompt, and only the mask prompt differs.
    projections, first = 4 * depth + 2, 3
    projection, cross_attention = pixels * width * inner, 2 * tokens * pixels * inner
    if form is Form.COMPUTED:
        rows = tokens * config.mask_decoder.heads
        of_tokens += (projections - first) * tokens * width * inner
        image_projections = first * projection + calls * (projections - first) * pixels * width * rows
        image_projections += calls * first * pixels * channels * rows
        cross_attention = calls * first * cross_attention // 2
    else:
        image_projections = calls * projections * projection
        cross_attention *= calls * attentions
    if form is Form.MINIMUM:
        image_projections += first * (projection - calls * projection + calls * pixels * channels * inner)

    fine = 16 * pixels  # of the upscaled image
    head = 2 * width**2
    return _doubled(
        DecoderFlops(
            mask_downscaler=calls * pixels * (4 * channels + channels**2 + channels * width),
            image_projections=image_projections,
            cross_attention=cross_attention,
            tokens=calls * of_tokens,
            upscaler=calls * pixels * (4 * width * (width // 4) + 16 * (width // 4) * (width // 8)),
            heads=calls * (4 * (head + width * (width // 8)) + head + width * 4 + 4 * fine * (width // 8)),
        )
    )


def _map_attention(queries: int, keys: tuple[int, int], width: int) -> int:
    """Multiply-adds of `queries` that each attend to a map of `keys`: scores, sums, offsets along either side."""
    return queries * width * (2 * math.prod(keys) + sum(keys))


def _doubled(multiply_adds):
    return dataclasses.replace(
        multiply_adds,
        **{field.name: 2 * getattr(multiply_adds, field.name) for field in dataclasses.fields(multiply_adds)},
    )
