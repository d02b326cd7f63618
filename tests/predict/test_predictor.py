"""What holds of a predictor whatever the model has learned, and what it refuses."""

from concurrent.futures import ThreadPoolExecutor
from threading import Thread

import jax
import numpy as np
import pytest
from flax import nnx

from samjax.core.errors import UserError
from samjax.models.sam.sam import Sam
from samjax.parallel.mesh import MeshConfig, make_mesh
from samjax.predict.engine import Engine
from samjax.predict.promptable.photo_masks import restore_masks
from samjax.predict.promptable.predictor import Predictor


@pytest.fixture(scope="module")
def model(micro):
    return Sam(micro, rngs=nnx.Rngs(5))


@pytest.fixture(scope="module")
def one_device():
    return make_mesh(MeshConfig(), jax.devices()[:1])


@pytest.fixture
def predictor(model, micro, one_device):
    return Predictor(Engine(model, micro, mesh=one_device))


def photos(*sizes: tuple[int, int]) -> list[np.ndarray]:
    draw = np.random.default_rng(0)
    return [draw.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]


POINTS, LABELS = np.array([[[5.0, 6.0]], [[9.0, 20.0]], [[30.0, 2.0]]]), np.array([[1], [0], [1]])


def assert_close(found, expected):
    np.testing.assert_allclose(found.logits, expected.logits, atol=1e-5)
    np.testing.assert_allclose(found.iou, expected.iou, atol=1e-5)
    assert (found.masks != expected.masks).mean() < 1e-4


@pytest.mark.slow
def test_groups_of_objects_change_nothing(model, micro, one_device, monkeypatch):
    """Eight objects on two photos, decoded together, two of each photo at a time, and one: prompts of every kind."""
    picture, draw = photos((40, 60), (90, 35)), np.random.default_rng(1)
    asked = {
        "points": [draw.uniform(0, 35, (8, 2, 2))] * 2,
        "labels": [np.ones((8, 2))] * 2,
        "mask_logits": [draw.normal(size=(8, *micro.logits_size)).astype(np.float32)] * 2,
    }
    answers, decoded, decoder = {}, [], Sam.decoder

    def spy(sam, embedding):
        decode = decoder(sam, embedding)
        return lambda prompts, keys: decoded.append(prompts.labels.shape[:2]) or decode(prompts, keys)

    monkeypatch.setattr(Sam, "decoder", spy)
    for at_once in (16, 4, 1):
        monkeypatch.setattr("samjax.predict.engine.decoded_at_once", lambda *_, at_once=at_once: at_once)
        predictor = Predictor(Engine(model, micro, mesh=one_device))
        predictor.set_images(picture)
        answers[at_once] = predictor.predict_each(**asked)
    assert decoded == [(2, 8), (2, 2), (2, 1)]
    for at_once in (4, 1):
        for found, expected in zip(answers[at_once], answers[16], strict=True):
            assert_close(found, expected)
    assert not np.allclose(answers[16][0].logits[0], answers[16][0].logits[1], atol=1e-3)


def test_objects_and_photos_do_not_touch_each_other(predictor):
    """Three objects on two photos at once are each what they are alone: nothing is mixed by batching or padding."""
    pictures = photos((40, 60), (90, 35))
    predictor.set_images(pictures)
    together = predictor.predict_each(points=[POINTS, POINTS[:2]], labels=[LABELS, LABELS[:2]])
    assert [answer.masks.shape for answer in together] == [(3, 3, 40, 60), (2, 3, 90, 35)]
    for picture, answer in zip(pictures, together, strict=True):
        predictor.set_image(picture)
        for m in range(len(answer.iou)):
            alone = predictor.predict(points=POINTS[m : m + 1], labels=LABELS[m : m + 1])
            np.testing.assert_allclose(answer.logits[m], alone.logits[0], atol=1e-5)
            np.testing.assert_allclose(answer.iou[m], alone.iou[0], atol=1e-5)
            assert (answer.masks[m] != alone.masks[0]).mean() < 1e-4


def test_a_mesh_changes_nothing(model, micro, predictor):
    pictures = photos((40, 60), (90, 35), (64, 64))
    asked = {"points": [POINTS] * 3, "labels": [LABELS] * 3}
    predictor.set_images(pictures)
    expected = predictor.predict_each(**asked)
    spread = Predictor(Engine(model, micro, mesh=make_mesh(MeshConfig(data=2, fsdp=2, tensor=2))))
    spread.set_images(pictures)
    for found, wanted in zip(spread.predict_each(**asked), expected, strict=True):
        assert_close(found, wanted)


def test_a_masks_logits_are_a_prompt(predictor):
    """They change the answer; and a further call without them is the first again."""
    predictor.set_image(photos((40, 60))[0])
    first = predictor.predict(points=POINTS, labels=LABELS)
    refined = predictor.predict(points=POINTS, labels=LABELS, mask_logits=10 * first.logits[:, 1], multimask=False)
    assert refined.masks.shape == (3, 1, 40, 60)
    plain = predictor.predict(points=POINTS, labels=LABELS, multimask=False)
    assert np.abs(refined.logits - plain.logits).max() > 1e-4
    assert_close(predictor.predict(points=POINTS, labels=LABELS), first)


@pytest.mark.parametrize("devices", [1, 8])
@pytest.mark.parametrize("size", [(40, 60), (300, 35)])
def test_logits_now_and_masks_later_are_the_prediction_bit_for_bit(model, micro, devices, size):
    engine = Engine(model, micro, mesh=make_mesh(MeshConfig(), jax.devices()[:devices]))
    predictor = Predictor(engine)
    predictor.set_image(photos(size)[0])
    for count, multimask in ((1, True), (3, True), (3, False)):
        asked = {"points": POINTS[:count], "labels": LABELS[:count], "multimask": multimask}
        expected, found = predictor.predict(**asked), predictor.predict_logits(**asked)
        np.testing.assert_array_equal(found.logits, expected.logits)
        np.testing.assert_array_equal(found.iou, expected.iou)
        np.testing.assert_array_equal(restore_masks(engine, found.logits, photo=size), expected.masks)


@pytest.mark.parametrize("devices", [1, 8])
def test_a_photo_set_by_its_embedding_is_the_photo(model, micro, devices):
    predictor = Predictor(Engine(model, micro, mesh=make_mesh(MeshConfig(), jax.devices()[:devices])))
    picture = photos((90, 35))[0]
    predictor.set_image(picture)
    expected = predictor.predict(points=POINTS[:1], labels=LABELS[:1])
    predictor.set_image(photos((40, 60))[0])
    predictor.predict(points=POINTS[:1], labels=LABELS[:1])
    other = Predictor(predictor._engine)
    other.set_image(picture)
    predictor.set_embedding(np.asarray(other._embedding)[0], photo=(90, 35))
    found = predictor.predict(points=POINTS[:1], labels=LABELS[:1])
    for name in ("masks", "iou", "logits"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    with pytest.raises(ValueError, match=r"an embedding of shape \(4, 4, 8\) for \(4, 4, 32\)"):
        predictor.set_embedding(np.zeros((4, 4, 8), np.float32), photo=(90, 35))


def test_a_program_serves_every_size_of_its_bucket(predictor):
    """Photos of 20 sizes and 5 to 8 objects, 3 or 4 slots: after the first call nothing is compiled."""
    engine = predictor._engine
    for count, (height, width) in enumerate(zip(range(30, 250, 11), range(250, 30, -11), strict=True)):
        objects = 5 + count % 4
        predictor.set_image(photos((height, width))[0])
        answer = predictor.predict(
            points=np.zeros((objects, 2 + count % 2, 2)), labels=np.ones((objects, 2 + count % 2))
        )
        assert answer.masks.shape == (objects, 3, height, width)
    assert [program._cache_size() for program in (engine._encode, engine._decode, engine._restore)] == [1, 1, 1]


@pytest.mark.parametrize(
    ("prompts", "sentence"),
    [
        ({}, "there is no prompt"),
        ({"points": POINTS}, "points came without labels"),
        ({"labels": LABELS}, "labels came without points"),
        (
            {"points": POINTS + 100, "labels": LABELS},
            r"points of object 0: \(105, 106\) is outside the photo, which is 60",
        ),
        ({"points": POINTS - 6, "labels": LABELS}, r"points of object 0: \(-1, 0\) is outside"),
        ({"points": POINTS * np.nan, "labels": LABELS}, r"points must be finite numbers, but points\[0, 0, 0\] is not"),
        ({"points": POINTS, "labels": LABELS + 1}, r"labels are 1 .* but labels\[0, 0\] is neither"),
        ({"points": POINTS, "labels": LABELS - 0.5}, "is neither"),
        ({"points": POINTS[:0], "labels": LABELS[:0]}, "points is empty"),
        ({"points": POINTS[:, :0], "labels": LABELS[:, :0]}, "points is empty"),
        ({"points": POINTS[0], "labels": LABELS}, r"points has shape \(1, 2\), expected \(m, p, 2\)"),
        ({"points": POINTS, "labels": LABELS[:2]}, r"labels has 2 objects \(m\), but points has 3"),
        ({"points": POINTS, "labels": np.ones((3, 2))}, r"labels has 2 points an object \(p\), but points has 1"),
        ({"boxes": [[9, 2, 5, 8]]}, r"x0 <= x1 .* but boxes\[0\] is \[9.0, 2.0, 5.0, 8.0\]"),
        ({"boxes": [[0, 0, 61, 8]]}, r"boxes of object 0: \(61, 8\) is outside the photo"),
        ({"boxes": [["a", "b", "c", "d"]]}, "boxes must be finite numbers"),
        ({"mask_logits": np.zeros((1, 8, 8))}, r"mask_logits has shape \(1, 8, 8\), expected \(m, 16, 16\)"),
    ],
)
def test_bad_prompts_are_one_sentence(prompts, sentence, predictor):
    predictor.set_image(photos((40, 60))[0])
    with pytest.raises(UserError, match=sentence):
        predictor.predict(**prompts)


def test_the_library_keeps_compiled_programs_as_commands_do(model, micro, one_device, monkeypatch):
    turned_on = []
    monkeypatch.setattr("samjax.predict.engine.enable_compile_cache", lambda: turned_on.append(True))
    Engine(model, micro, mesh=one_device)
    assert turned_on


def test_a_box_may_be_the_whole_photo(predictor):
    predictor.set_image(photos((40, 60))[0])
    assert predictor.predict(boxes=[[0, 0, 60, 40]]).masks.shape == (1, 3, 40, 60)


@pytest.mark.parametrize("image", [np.zeros((4, 4)), np.zeros((4, 4, 3)), np.zeros((4, 4, 4), np.uint8)])
def test_what_is_no_rgb_photo_is_refused(image, predictor):
    with pytest.raises(UserError, match=r"image 0 is .* expected RGB: uint8 of shape \(h, w, 3\)"):
        predictor.set_image(image)


def test_photos_and_prompts_go_together(predictor):
    with pytest.raises(UserError, match="no image is set"):
        predictor.predict(points=POINTS, labels=LABELS)
    with pytest.raises(UserError, match="no images to set"):
        predictor.set_images([])
    predictor.set_images(photos((40, 60), (40, 60)))
    with pytest.raises(UserError, match="2 images are set: ask predict_each"):
        predictor.predict(points=POINTS, labels=LABELS)
    with pytest.raises(UserError, match="boxes has 1 entries, but 2 images are set"):
        predictor.predict_each(boxes=[[[0, 0, 5, 5]]])


def test_a_photo_without_objects_has_no_masks(predictor):
    """A detector found nothing on one photo of a batch: the others are answered as if they were alone."""
    pictures = photos((40, 60), (90, 35), (50, 50))
    predictor.set_images(pictures)
    box = [[1, 2, 30, 31]]
    for nothing in (None, [], np.zeros((0, 4))):
        found = predictor.predict_each(boxes=[box, nothing, box])
        assert [answer.masks.shape for answer in found] == [(1, 3, 40, 60), (0, 3, 90, 35), (1, 3, 50, 50)]
    assert found[1].iou.shape == (0, 3)
    assert predictor.predict_each(boxes=[[], [], []], multimask=False)[2].masks.shape == (0, 1, 50, 50)
    predictor.set_image(pictures[2])
    assert_close(found[2], predictor.predict(boxes=box))


def test_a_wrong_prompt_is_named_with_its_photo(predictor):
    predictor.set_images(photos((40, 60), (90, 35)))
    with pytest.raises(UserError, match=r"^image 1: boxes of object 0: \(60, 31\) is outside the photo, which is 35"):
        predictor.predict_each(boxes=[[[1, 2, 30, 31]], [[1, 2, 60, 31]]])
    with pytest.raises(UserError, match=r"^image 1: boxes has 1 objects"):
        predictor.predict_each(points=[POINTS, POINTS], labels=[LABELS, LABELS], boxes=[None, [[0, 0, 5, 5]]])


def test_objects_need_not_have_the_same_prompts(predictor):
    predictor.set_image(photos((40, 60))[0])
    two, box = [[5.0, 6.0], [30.0, 8.0]], [4, 4, 20, 30]
    together = predictor.predict(points=[two, None], labels=[[1, 0], None], boxes=[None, box])
    for m, alone in enumerate([{"points": [two], "labels": [[1, 0]]}, {"boxes": [box]}]):
        expected = predictor.predict(**alone)
        np.testing.assert_allclose(together.logits[m], expected.logits[0], atol=1e-5)
        np.testing.assert_allclose(together.iou[m], expected.iou[0], atol=1e-5)


def test_threads_with_predictors_of_their_own_share_an_engine(model, micro, one_device):
    """Each gets its own photo's masks."""
    engine = Engine(model, micro, mesh=one_device)  # compiled for the first time by all threads at once
    pictures = photos(*[(40, 60)] * 6)

    def own(picture):
        predictor = Predictor(engine)
        predictor.set_image(picture)
        return predictor.predict(points=POINTS[:1], labels=LABELS[:1])

    with ThreadPoolExecutor(len(pictures)) as pool:
        found = list(pool.map(own, pictures))
    for answer, picture in zip(found, pictures, strict=True):
        assert_close(answer, own(picture))


def test_a_prediction_waits_for_the_photo_that_another_thread_sets(predictor, monkeypatch):
    """It is never of one photo's embedding and another one's size."""
    first, second = photos((40, 60), (90, 35))
    predictor.set_image(first)
    predictor.predict(boxes=[[1, 2, 30, 31]])
    encode, answers = predictor._engine.encode, []

    def meanwhile(*arguments):
        thread.start()
        thread.join(0.2)
        assert not answers
        return encode(*arguments)

    thread = Thread(target=lambda: answers.append(predictor.predict(boxes=[[1, 2, 30, 31]])))
    monkeypatch.setattr(predictor._engine, "encode", meanwhile)
    predictor.set_image(second)
    thread.join()
    assert [answer.masks.shape for answer in answers] == [(1, 3, 90, 35)]
