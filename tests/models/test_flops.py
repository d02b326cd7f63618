"""The count of floating-point operations: the published models' figures, and the compiler's own count of each part."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from samjax.core.prompts import Prompts
from samjax.models.sam.details import Details
from samjax.models.sam.flops import Form, decoder_flops, encoder_flops, photo_flops
from samjax.models.sam.image_encoder import ImageEncoderConfig, Neck
from samjax.models.sam.mask_decoder import MaskDecoderConfig
from samjax.models.sam.sam import Sam, SamConfig
from samjax.models.traced_flops import traced_flops
from samjax.models.vit.blocks import Block
from samjax.models.vit.vit import Stem
from samjax.nn.conv_stem import ConvStem, stem_channels
from samjax.nn.init import VIT_INIT
from samjax.nn.patch import Patchify
from samjax.nn.rngs import initial_rngs

# A frame of two windows and a part of a third along each side, wide enough for elementwise work not to matter.
SIDE, WINDOW, WIDTH = 16, 6, 2048
CONFIG = SamConfig(
    image_size=(SIDE * 16, SIDE * 16),
    embedding=1024,
    image_encoder=ImageEncoderConfig(width=WIDTH, depth=2, heads=2, window=WINDOW, global_every=2),
    mask_decoder=MaskDecoderConfig(dropout=0.0),
    dtype="float32",
)


def lowered_flops(make, apply, *arguments) -> float:
    """Return XLA's count for `apply(module, *arguments)`: nothing is computed, and nothing is fused away."""
    module = nnx.eval_shape(lambda: make(initial_rngs(0)))
    return jax.jit(apply).lower(module, *arguments).cost_analysis()["flops"]


def floats(*shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, jnp.float32)


@pytest.mark.parametrize(("name", "tera"), [("vit_b", 0.97), ("vit_l", 2.99), ("vit_h", 5.96)])
def test_published_encoders_in_the_plain_form(name, tera):
    config = getattr(SamConfig, name)()
    assert encoder_flops(config, form=Form.PLAIN).total / 1e12 == pytest.approx(tera, abs=0.005)


def test_unpadded_projections_save_five_percent_of_vit_h():
    plain, least = (encoder_flops(SamConfig.vit_h(), form=form) for form in (Form.PLAIN, Form.MINIMUM))
    assert 1 - least.total / plain.total == pytest.approx(0.05, abs=0.002)
    assert dataclasses.replace(least, projections=plain.projections) == plain


def test_a_decoded_mask_in_the_plain_form():
    """Without the work on its few tokens, 1% more, a call is 3.62 GFLOP for every published model."""
    call = decoder_flops(SamConfig.vit_h(), masks=1, rounds=1, form=Form.PLAIN)
    assert (call.total - call.tokens) / 1e9 == pytest.approx(3.62, abs=0.005)
    assert call.tokens / call.total < 0.012


def test_shared_projections_save_a_fifth_of_the_decoder():
    plain, least = (
        decoder_flops(SamConfig.vit_h(), masks=64, rounds=11, form=form) for form in (Form.PLAIN, Form.MINIMUM)
    )
    assert 1 - least.total / plain.total == pytest.approx(0.21, abs=0.005)
    assert dataclasses.replace(least, image_projections=plain.image_projections) == plain


def test_training_vit_h():
    """23.1 TFLOP a photo at the paper's 64 masks and 11 rounds; 24.7 were the decoder in its plain form."""
    least = photo_flops(SamConfig.vit_h(), masks=64, rounds=11)
    assert least.training / 1e12 == pytest.approx(23.1, abs=0.05)
    plain_decoder = decoder_flops(SamConfig.vit_h(), masks=64, rounds=11, form=Form.PLAIN)
    assert 3 * (least.encoder.total + plain_decoder.total) / 1e12 == pytest.approx(24.7, abs=0.05)


@pytest.mark.parametrize("form", list(Form))
def test_rounds_and_masks_multiply_all_but_what_is_shared(form):
    once, twice, thrice = (
        decoder_flops(CONFIG, masks=m, rounds=r, form=form).total for m, r in [(2, 3), (4, 3), (2, 9)]
    )
    shared = 0 if form is Form.PLAIN else 3 * 2 * SIDE**2 * CONFIG.embedding**2 / 2
    assert twice - shared == pytest.approx(2 * (once - shared))
    assert thrice - shared == pytest.approx(3 * (once - shared))


@pytest.mark.parametrize("window", [None, WINDOW])
def test_a_block_is_counted_as_the_compiler_does(window):
    """Projections, attention and MLP of one block; there are one of each kind in CONFIG."""
    counted = lowered_flops(
        lambda rngs: Block(
            CONFIG.image_encoder.vit(), window=window, grid=CONFIG.grid, dtype=CONFIG.compute_dtype, rngs=rngs
        ),
        lambda block, tokens: block(tokens, jnp.zeros(()), None),
        floats(1, SIDE, SIDE, WIDTH),
    )
    parts = encoder_flops(CONFIG)
    attention = parts.windowed_attention if window else parts.global_attention
    assert counted == pytest.approx(parts.projections / 2 + parts.mlp / 2 + attention, rel=0.01)


def test_patches_and_neck_are_counted_as_the_compiler_does():
    dtype = CONFIG.compute_dtype
    parts = encoder_flops(CONFIG)
    patches = lowered_flops(
        lambda rngs: Patchify(3, WIDTH, 16, init=VIT_INIT, dtype=dtype, rngs=rngs),
        lambda patchify, photo: patchify(photo),
        floats(1, *CONFIG.image_size, 3),
    )
    assert patches == pytest.approx(parts.patch_embedding, rel=0.01)
    convolved = dataclasses.replace(CONFIG.image_encoder, stem=Stem.CONVOLUTIONS)
    stem = lowered_flops(
        lambda rngs: ConvStem(3, WIDTH, 16, init=VIT_INIT, dtype=dtype, rngs=rngs),
        lambda stem, photo: stem(photo),
        floats(1, *CONFIG.image_size, 3),
    )
    of_stem = encoder_flops(dataclasses.replace(CONFIG, image_encoder=convolved)).patch_embedding
    assert stem == pytest.approx(of_stem, rel=0.04)  # less by the taps outside the frame, of four convolutions
    neck = lowered_flops(
        lambda rngs: Neck(WIDTH, CONFIG.embedding, dtype=dtype, rngs=rngs),
        lambda neck, tokens: neck(tokens),
        floats(1, SIDE, SIDE, WIDTH),
    )
    border = 1 - (1 - 2 / (3 * SIDE)) ** 2  # taps of the 3 x 3 convolution outside the frame: the compiler leaves them
    inside = parts.neck - border * 2 * SIDE**2 * 9 * CONFIG.embedding**2
    assert neck == pytest.approx(inside, rel=0.01)


def test_details_are_counted_as_the_compiler_does():
    convolved = dataclasses.replace(CONFIG.image_encoder, stem=Stem.CONVOLUTIONS)
    plain = dataclasses.replace(CONFIG, image_encoder=convolved)
    counted = lowered_flops(
        lambda rngs: Details(stem_channels(3, WIDTH, 16), CONFIG.embedding, dtype=CONFIG.compute_dtype, rngs=rngs),
        lambda details, *maps: details(maps),
        *(floats(1, SIDE * 2**finer, SIDE * 2**finer, WIDTH // 2**finer) for finer in (2, 1, 0)),
    )
    more = encoder_flops(dataclasses.replace(plain, details=True)).neck - encoder_flops(plain).neck
    assert counted == pytest.approx(more, rel=0.01)


@pytest.mark.parametrize("prompts", [2, 7, 11])
def test_a_decoder_call_is_counted_as_it_is_traced(prompts):
    masks = 8

    def given() -> Prompts:
        labels = jnp.zeros((1, masks, prompts), jnp.int32)
        return Prompts.without_masks(
            coords=jnp.zeros((*labels.shape, 2)), labels=labels, logits_size=CONFIG.logits_size
        )

    traced = traced_flops(
        lambda sam, embedding, prompts: sam.decode(embedding, prompts),
        nnx.eval_shape(lambda: Sam(CONFIG, rngs=initial_rngs(0))),
        floats(1, SIDE, SIDE, CONFIG.embedding),
        jax.eval_shape(given),
    )
    expected = decoder_flops(CONFIG, masks=masks, rounds=1, prompts=prompts, form=Form.COMPUTED).total
    assert traced == pytest.approx(expected, rel=0.01)
