"""The mask decoder and the whole model against PyTorch; prompts and objects that must not touch each other."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from agreement import norm_error
from reference import SMALL, WIDE, channels_first, decode, ours, random_case, reference, to_numpy
from test_prompt_encodings import KINDS

IMAGES, MASKS = 2, 3

run_decoder = jax.jit(lambda model, embedding, prompts: model.decode(embedding, prompts))


CASES = [(SMALL, kind) for kind in KINDS] + [(WIDE, kind) for kind in ("none", "box+points", "mask+points")]
on_every_case = pytest.mark.parametrize(
    ("pair", "kind"), CASES, ids=[f"{'x'.join(map(str, c.image_size))}-{kind}" for c, kind in CASES], indirect=["pair"]
)


@pytest.fixture(scope="module")
def pair(request):
    config = getattr(request, "param", SMALL)
    model = reference(config)
    embedding = np.random.default_rng(3).normal(size=(IMAGES, *config.grid, config.embedding)).astype(np.float32)
    return config, model, ours(model, config), embedding


@on_every_case
@torch.no_grad()
def test_both_outputs(pair, kind, agrees):
    config, theirs, model, embedding = pair
    case = random_case(config, kind, IMAGES, MASKS)
    prompts = case.prompts(config, IMAGES, MASKS)
    output = run_decoder(model, embedding, prompts)
    their_embedding = channels_first(embedding)
    for multimask, chosen in [(False, output.single()), (True, output.candidates())]:
        logits, iou = decode(theirs, their_embedding, case, config, multimask=multimask)
        objects = logits.shape[1]
        agrees(f"mask logits, multimask {multimask}", chosen.logits[:, :objects], logits)
        agrees(f"predicted IoU, multimask {multimask}", chosen.iou[:, :objects], iou)


@torch.no_grad()
def test_whole_model(agrees):
    """Through their own `forward`, none of our glue: photos and boxes in, three masks an object out."""
    theirs = reference(SMALL)
    model = ours(theirs, SMALL)
    image = np.random.default_rng(4).normal(size=(IMAGES, *SMALL.image_size, 3)).astype(np.float32)
    case = random_case(SMALL, "box+points", IMAGES, MASKS)
    expected = theirs(
        pixel_values=channels_first(image),
        input_points=torch.as_tensor(case.points),
        input_labels=torch.as_tensor(case.labels),
        input_boxes=torch.as_tensor(case.boxes),
    )
    output = jax.jit(lambda model, image, prompts: model.decode(model.image_encoder(image), prompts))(
        model, image, case.prompts(SMALL, IMAGES, MASKS)
    )
    agrees("whole model, mask logits", output.candidates().logits, expected.pred_masks)
    agrees("whole model, predicted IoU", output.candidates().iou, expected.iou_scores)


@on_every_case
def test_padding_prompts_changes_nothing(pair, kind, agrees):
    """Whatever lies in slots that are not valid."""
    config, _, model, embedding = pair
    prompts = random_case(config, kind, IMAGES, MASKS).prompts(config, IMAGES, MASKS)
    exact = run_decoder(model, embedding, prompts)
    padded = prompts.pad_to(12)
    noise = jnp.asarray(np.random.default_rng(5).uniform(0, 90, padded.coords.shape), jnp.float32)
    padded = dataclasses.replace(
        padded,
        coords=jnp.where(padded.valid[..., None], padded.coords, noise),
        labels=jnp.where(padded.valid, padded.labels, 1),
    )
    output = run_decoder(model, embedding, padded)
    agrees("padded prompts, mask logits", output.logits, exact.logits, 1e-6, measure=norm_error)
    agrees("padded prompts, predicted IoU", output.iou, exact.iou, 1e-6, measure=norm_error)


@pytest.mark.parametrize("kind", ["points", "mask+points"])
def test_objects_do_not_mix(pair, kind):
    """Object (1, 2) of a batch is what it is alone; what happens to other images and objects does not reach it."""
    config, _, model, embedding = pair
    prompts = random_case(config, kind, IMAGES, MASKS).prompts(config, IMAGES, MASKS)
    output = run_decoder(model, embedding, prompts)
    alone = run_decoder(model, embedding[1:2], jax.tree.map(lambda leaf: leaf[1:2, 2:3], prompts))
    np.testing.assert_allclose(alone.logits[0, 0], output.logits[1, 2], rtol=1e-5, atol=1e-5)

    changed = dataclasses.replace(
        prompts, coords=prompts.coords.at[0, 1].add(9.0), labels=prompts.labels.at[0, 1].set(0)
    )
    after = run_decoder(model, embedding, changed)
    same = np.all(np.asarray(after.logits == output.logits), axis=(2, 3, 4))
    np.testing.assert_array_equal(same, [[True, False, True], [True, True, True]])

    after = run_decoder(model, embedding + np.array([0, 1], np.float32)[:, None, None, None], prompts)
    same = np.all(np.asarray(after.logits == output.logits), axis=(1, 2, 3, 4))
    np.testing.assert_array_equal(same, [True, False])


def test_photos_do_not_mix():
    model = ours(reference(SMALL), SMALL)
    image = np.random.default_rng(4).normal(size=(2, *SMALL.image_size, 3)).astype(np.float32)
    encode = jax.jit(lambda model, image: model.image_encoder(image))
    before = encode(model, image)
    image[1] += 1
    np.testing.assert_array_equal(encode(model, image)[0], before[0])


@torch.no_grad()
def test_logits_are_a_mask_prompt_of_the_next_round(pair, agrees):
    config, theirs, model, embedding = pair
    case = random_case(config, "points", IMAGES, MASKS)
    output = run_decoder(model, embedding, case.prompts(config, IMAGES, MASKS))
    again = dataclasses.replace(case, logits=np.array(output.logits[:, :, 0]))
    expected, _ = decode(theirs, channels_first(embedding), again, config, multimask=False)
    output = run_decoder(model, embedding, again.prompts(config, IMAGES, MASKS))
    agrees("mask logits, fed back", output.single().logits, to_numpy(expected))
