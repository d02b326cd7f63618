"""Objects clicked and clicked again: with answers that are known by hand, and against training's validation."""

import jax.numpy as jnp
import numpy as np
import pytest
from clicked_data import SIZE, Neighbourhood, rectangle
from helpers.micro import drawn_micro, micro_model

from samjax.core.batches import Batch
from samjax.core.errors import UserError
from samjax.data.annotations.dataset import Instance
from samjax.data.masks import rle
from samjax.eval.prompt_groups import AT_ONCE
from samjax.eval.protocols.point_to_mask.clicking import ClickConfig, ClickOutcome, FirstClick, click_objects
from samjax.eval.protocols.point_to_mask.places import Place
from samjax.predict.engine import Engine
from samjax.predict.promptable.predictor import Predictor
from samjax.tasks.click_validation import click_through

PHOTO = np.zeros((*SIZE, 3), np.uint8)


def instance(mask, number: int = 7) -> Instance:
    return Instance(id=number, segmentation=rle.encode(mask))


def test_the_values_of_a_neighbourhood_are_those_computed_by_hand():
    """An object of 9 x 9 around (20, 14): of the squares of 9, 25 and 49 pixels the one of 25 is trusted. The largest
    error is then the ring that was missed, 2 pixels wide: its maximum is first at its upper left, (17, 11)."""
    predictor = Neighbourhood()
    [[watched]] = click_objects(
        predictor, [PHOTO], [[instance(rectangle(10, 16, 19, 25))]], config=ClickConfig(clicks=(1, 2)), keep_masks=True
    )
    assert watched.outcome == ClickOutcome(
        instance=7,
        iou=[25 / 81, 16 / (81 + 25 - 16)],
        oracle=[49 / 81, 16 / (81 + 25 - 16)],
        predicted=[float(np.float32(0.9)), 0.5],
        places=[Place(20, 14, True), Place(17, 11, True)],
    )
    assert [mask.sum() for mask in watched.masks] == [25, 25]


def test_what_is_asked_in_each_round():
    """Three masks for the first click; then all clicks and the carried mask, and one mask. The square of 25 claims a
    ring around an object of 9 pixels."""
    predictor = Neighbourhood()
    click_objects(predictor, [PHOTO], [[instance(rectangle(13, 19, 16, 22))]], config=ClickConfig(clicks=(1, 2)))
    (points, labels, masked, multimask), (more, corrected, carried, still) = predictor.asked
    assert (points[0][0], labels[0][0], masked, multimask) == ([(20, 14)], [1], False, True)
    assert (more[0][0], corrected[0][0], carried, still) == ([(20, 14), (18, 12)], [1, 0], True, False)


def test_a_perfect_answer_is_one():
    [[watched]] = click_objects(
        Neighbourhood(), [PHOTO], [[instance(rectangle(12, 18, 17, 23))]], config=ClickConfig(clicks=(2,))
    )
    assert watched.outcome.iou == [1.0, 1.0]


@pytest.fixture(scope="module")
def predictor():
    return Predictor(Engine(drawn_micro(), micro_model()))


@pytest.fixture(scope="module")
def scene():
    """A photo of the frame's size and three objects."""
    generator = np.random.default_rng(3)
    masks = [rectangle(4, 6, 30, 40, (64, 64)), rectangle(33, 2, 60, 20, (64, 64)), rectangle(40, 30, 50, 62, (64, 64))]
    return generator.integers(0, 256, (64, 64, 3), np.uint8), masks


@pytest.mark.slow
def test_of_a_photo_of_the_frames_size_it_is_trainings_validation(predictor, scene):
    """The other way to the same: on the device, without a step between frame and photo."""
    photo, masks = scene
    config = ClickConfig(clicks=(1, 3))
    [found] = click_objects(predictor, [photo], [[instance(mask, i) for i, mask in enumerate(masks)]], config=config)
    batch = Batch(
        image=jnp.asarray(photo)[None],
        valid_size=jnp.array([[64, 64]]),
        masks=jnp.asarray(np.packbits(np.stack(masks), axis=-1))[None],
        mask_valid=jnp.ones((1, 3), bool),
        record_id=jnp.zeros(1, jnp.int32),
    )
    result, prompts = click_through(drawn_micro(), batch, micro_model(), clicks=3)
    for m, watched in enumerate(found):
        clicked = watched.outcome
        np.testing.assert_allclose(clicked.iou, result.iou[:, 0, m], atol=1e-6)
        np.testing.assert_allclose(clicked.oracle, result.oracle[:, 0, m], atol=1e-6)
        np.testing.assert_allclose(clicked.predicted, result.predicted_iou[:, 0, m], atol=1e-5)
        slots = [0, 2, 3]
        assert [list(place[:2]) for place in clicked.places] == np.asarray(prompts.coords)[0, m, slots].tolist()


def test_objects_do_not_depend_on_those_beside_them(predictor, scene):
    """More than are prompted together, photos of other sizes with fewer objects: each as if it were alone."""
    photo, masks = scene
    small = photo[:50, :37]
    many = [instance(np.roll(masks[0], shift, axis=1), shift) for shift in range(AT_ONCE + 2)]
    one = [instance(masks[0][:50, :37], 99)]
    config = ClickConfig(clicks=(2,))
    together = click_objects(predictor, [photo, small], [many, one], config=config)
    assert [len(of_photo) for of_photo in together] == [AT_ONCE + 2, 1]
    for watched, alone in [
        (together[0][AT_ONCE + 1], click_objects(predictor, [photo], [many[-1:]], config=config)[0][0]),
        (together[1][0], click_objects(predictor, [small], [one], config=config)[0][0]),
    ]:
        assert watched.outcome.places == alone.outcome.places
        np.testing.assert_allclose(watched.outcome.iou, alone.outcome.iou, atol=1e-6)
        np.testing.assert_allclose(watched.outcome.predicted, alone.outcome.predicted, atol=1e-5)


def test_a_random_first_click_is_drawn_by_the_seed():
    def first(seed: int) -> Place:
        config = ClickConfig(clicks=(1,), first=FirstClick.RANDOM, seed=seed)
        return click_objects(Neighbourhood(), [PHOTO], [[instance(rectangle(2, 2, 38, 58))]], config=config)[0][
            0
        ].outcome.places[0]

    assert first(0) == first(0)
    assert len({first(seed) for seed in range(5)}) > 1


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"clicks": ()}, "clicks"),
        ({"clicks": (0, 1)}, "clicks"),
        ({"clicks": (3, 2)}, "clicks"),
        ({"seed": -1}, "seed"),
    ],
)
def test_settings_that_mean_nothing_are_refused(fields, said):
    with pytest.raises(UserError, match=said):
        ClickConfig(**fields)
