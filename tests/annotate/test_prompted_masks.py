"""Clicks on the micro model: masks as `Predictor` makes them, and requests as annotators send them."""

import asyncio
import gc
import threading
import tracemalloc

import jax
import numpy as np
import pytest
from helpers.generators import micro_engine
from micro_annotator import MicroPhotos, micro_store

from samjax.annotate import clickable_photo
from samjax.annotate.photo_encoding import encode_jpeg
from samjax.annotate.prompt_request import NewerRequest, PromptRequest
from samjax.annotate.prompted_masks import PromptedMasks, PromptedMasksConfig
from samjax.core.errors import MachineError, UserError
from samjax.data.masks import rle
from samjax.data.photo import read_photo
from samjax.predict.automatic.generator import MaskGenerator
from samjax.predict.automatic.generator_config import GeneratorConfig
from samjax.predict.promptable.predictor import Predictor

PHOTOS = MicroPhotos()


@pytest.fixture(scope="module")
def engine():
    """Return a model with logits as large as a trained one's: a few steps of the screen, some beyond 1."""
    return micro_engine(steepness=30.0)


@pytest.fixture
def store(tmp_path, engine):
    return micro_store(tmp_path / "embeddings", engine)


@pytest.fixture
def masks(engine, store):
    masks = PromptedMasks(engine, photos=PHOTOS, store=store)
    yield masks
    masks.close()


def request(*points, annotator="ann", box=None, previous=None, **fields) -> PromptRequest:
    """Return a request of points (x, y, label)."""
    return PromptRequest(
        annotator=annotator,
        points=tuple((float(x), float(y)) for x, y, _ in points),
        labels=tuple(label for _, _, label in points),
        box=box,
        previous=previous,
        **fields,
    )


def exact(masks, found, *, photo_id):
    """Return the masks of all candidates."""

    async def ask():
        return [await masks.exact_mask(one.handle, photo_id=photo_id) for one in found.candidates]

    masks_found = asyncio.run(ask())
    return np.stack(
        [rle.decode(one.runs["counts"], height=one.runs["size"][0], width=one.runs["size"][1]) for one in masks_found]
    )


ONE, TWO = ((20, 9, 1),), ((20, 9, 1), (30.5, 31.25, 0))


@pytest.mark.parametrize("photo_id", [1, 2])
def test_a_saved_mask_is_the_predictors_bit_for_bit(engine, masks, photo_id):
    """A point, a box, a point and a box, and a second click on each of the three candidates of the first."""
    predictor = Predictor(engine)
    predictor.set_image(read_photo(PHOTOS.jpeg(photo_id)))
    size = (PHOTOS[photo_id].height, PHOTOS[photo_id].width)

    def check(asked, previous=None):
        found = asyncio.run(masks.predict(photo_id, asked))
        expected = predictor.predict(
            points=[list(asked.points)] if asked.points else None,
            labels=[list(asked.labels)] if asked.points else None,
            boxes=[asked.box] if asked.box else None,
            mask_logits=None if previous is None else previous[None],
            multimask=asked.is_ambiguous,
        )
        order = np.argsort(-expected.iou[0])
        np.testing.assert_array_equal([one.iou for one in found.candidates], expected.iou[0, order])
        saved = exact(masks, found, photo_id=photo_id)
        assert saved.shape[1:] == size
        np.testing.assert_array_equal(saved, expected.masks[0, order])
        assert 0 < saved.mean() < 1
        return found, expected.logits[0, order]

    first, logits = check(request(*ONE))
    assert len(first.candidates) == 3
    assert len(check(request(box=(3.0, 4.0, 30.0, 30.5)))[0].candidates) == 3
    assert len(check(request(*ONE, box=(3.0, 4.0, 30.0, 30.5)))[0].candidates) == 1
    refined = [
        check(request(*TWO, previous=one.handle), previous=logits[k])[0] for k, one in enumerate(first.candidates)
    ]
    assert [len(one.candidates) for one in refined] == [1, 1, 1]
    assert len({one.candidates[0].iou for one in refined}) == 3  # the logits do matter


def test_the_screens_logits_are_the_predictors_to_half_a_step(engine, masks):
    found = asyncio.run(masks.predict(2, request(*ONE, generation=9)))
    predictor = Predictor(engine)
    predictor.set_image(read_photo(PHOTOS.jpeg(2)))
    expected = predictor.predict_logits(points=[[ONE[0][:2]]], labels=[[1]])
    logits = expected.logits[0][np.argsort(-expected.iou[0])]
    height, width = found.logits.shape[1:]
    assert found.valid == (11.0, 16.0)
    assert (height, width) == (12, 16)
    shown = np.clip(logits[:, :height, :width], -127 / 16, 127 / 16)
    np.testing.assert_allclose(found.logits / 16, shown, atol=1 / 32)
    assert found.generation == 9
    assert found.decode_ms > 0


def test_stability_is_what_generate_computes(engine, masks):
    """Of the same candidates, that is of a point on its grid."""
    generator = MaskGenerator(
        engine,
        GeneratorConfig(
            points_per_side=1,
            pred_iou_threshold=0.0,
            stability_threshold=0.0,
            box_nms_threshold=1.0,
            max_area_fraction=1.0,
        ),
    )
    (generated,) = generator.generate([read_photo(PHOTOS.jpeg(2))])
    found = asyncio.run(masks.predict(2, request((*generated[0].point, 1))))
    saved = exact(masks, found, photo_id=2)
    by_area = {int(mask.sum()): one for mask, one in zip(saved, found.candidates, strict=True)}
    stability = {
        one.handle: asyncio.run(masks.exact_mask(one.handle, photo_id=2)).stability for one in found.candidates
    }
    assert generated
    assert {mask.area for mask in generated} <= set(by_area)
    assert all(0.05 < mask.stability_score < 0.95 for mask in generated)  # both thresholds are crossed
    for mask in generated:
        assert stability[by_area[mask.area].handle] == pytest.approx(mask.stability_score, abs=1e-6)


def test_the_screens_stability_is_near_the_exact_one(engine):
    """Of discs, on a grid of 11 x 16: those of a trained model have 256 x 256."""
    size = (48, 70)
    photo = clickable_photo.ClickablePhoto(engine, np.zeros((4, 4, 32), np.float32), photo_id=2, size=size)
    y, x = np.mgrid[:16, :16]
    discs = np.stack([radius - np.hypot(y - 5, x - 8) for radius in (2, 3.5, 5)]).astype(np.float32)
    exact_ones = clickable_photo.measure_stability(engine, discs, size=size)
    assert 0.05 < exact_ones[0] < exact_ones[1] < exact_ones[2] < 0.6
    np.testing.assert_allclose(photo.rough_stability(discs), exact_ones, atol=0.1)


def test_a_newer_click_of_an_annotator_wins(masks, engine, monkeypatch):
    """While the first runs, four more come: the last alone is answered, and another annotator's beside it."""
    asyncio.run(masks.predict(2, request(*ONE)))
    begun, go, predict = threading.Event(), threading.Event(), Predictor.predict_logits

    def slow(self, **prompts):
        begun.set()
        assert go.wait(10)
        return predict(self, **prompts)

    monkeypatch.setattr(Predictor, "predict_logits", slow)

    async def act():
        first = asyncio.ensure_future(masks.predict(2, request(*ONE, generation=0)))
        await asyncio.to_thread(begun.wait, 10)
        later = [
            asyncio.ensure_future(masks.predict(2, request(*ONE, generation=n, annotator="eve" if n == 2 else "ann")))
            for n in range(1, 5)
        ]
        await asyncio.sleep(0.05)
        go.set()
        return await asyncio.gather(first, *later, return_exceptions=True)

    found = asyncio.run(act())
    kinds = [getattr(one, "generation", type(one)) for one in found]
    assert kinds == [0, NewerRequest, 2, NewerRequest, 4]


def test_nobody_gets_anothers_answer(masks):
    """Four annotators click at random on three photos, some at once: each answer is of its own prompts."""
    draw = np.random.default_rng(0)
    asked = [
        (int(draw.integers(3)), request((*draw.integers(0, 35, 2).tolist(), 1), annotator=f"{n % 4}", generation=n))
        for n in range(40)
    ]

    async def alone():
        return [await masks.predict(photo_id, one) for photo_id, one in asked]

    async def together():
        tasks = []
        for photo_id, one in asked:
            tasks.append(asyncio.ensure_future(masks.predict(photo_id, one)))
            await asyncio.sleep(draw.choice([0.0, 0.02]))
        return await asyncio.gather(*tasks, return_exceptions=True)

    expected = asyncio.run(alone())
    found = asyncio.run(together())
    for one, other in zip(found, expected, strict=True):
        if not isinstance(one, NewerRequest):
            assert one.generation == other.generation
            np.testing.assert_array_equal(one.logits, other.logits)
    last = {one.annotator: place for place, (_, one) in enumerate(asked)}
    assert not any(isinstance(found[place], NewerRequest) for place in last.values())
    assert len({other.logits.tobytes() for other in expected}) > 30


@pytest.mark.slow
def test_memory_is_flat_over_many_clicks(engine, store):
    """Answers are kept within their bound, and nothing else grows."""
    masks = PromptedMasks(
        engine, photos=PHOTOS, store=store, config=PromptedMasksConfig(answers=4, annotators=2, photos=2)
    )

    async def work(clicks):
        for number in range(clicks):
            found = await masks.predict(
                number % 3, request(*ONE, annotator=str(number % 5), is_hover=number % 4 == 0, generation=number)
            )
            await masks.exact_mask(found.candidates[0].handle, photo_id=number % 3)

    tracemalloc.start()
    try:
        asyncio.run(work(40))
        gc.collect()
        before, arrays = tracemalloc.get_traced_memory()[0], len(jax.live_arrays())
        asyncio.run(work(200))
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
        assert len(jax.live_arrays()) <= arrays + 4
    finally:
        tracemalloc.stop()
        masks.close()
    assert len(masks._open) == 2
    assert len(masks._kept) <= 2 * (4 + 4)
    assert grown < 200_000  # 200 answers of 3 masks would take 610 kB


def test_lost_and_foreign_handles_are_one_sentence(engine, store):
    masks = PromptedMasks(engine, photos=PHOTOS, store=store, config=PromptedMasksConfig(answers=1))
    try:
        first = asyncio.run(masks.predict(2, request(*ONE))).candidates[0].handle
        with pytest.raises(UserError, match="is of photo 2, not of photo 1"):
            asyncio.run(masks.predict(1, request(*TWO, previous=first)))
        asyncio.run(masks.predict(2, request(*ONE)))
        for ask in (
            lambda: masks.exact_mask(first, photo_id=2),
            lambda: masks.predict(2, request(*TWO, previous=first)),
        ):
            with pytest.raises(
                UserError, match="is gone: only the last 1 answers of an annotator are kept; click again"
            ):
                asyncio.run(ask())
    finally:
        masks.close()


@pytest.mark.parametrize(
    ("photo_id", "points", "error", "sentence"),
    [
        (2, ((20, 90, 1),), UserError, r"\(20, 90\) is outside the photo, which is 70 wide and 48 high"),
        (404, ONE, UserError, "is not a picture"),
        (405, ONE, UserError, "photo 405: no such file"),
        (-1, ONE, LookupError, "-1"),
    ],
)
def test_what_cannot_be_answered_is_one_sentence_and_the_next_click_is_answered(
    masks, photo_id, points, error, sentence
):
    with pytest.raises(error, match=sentence):
        asyncio.run(masks.predict(photo_id, request(*points)))
    assert len(asyncio.run(masks.predict(2, request(*ONE))).candidates) == 3


class HeldWorker:
    """Encodes when the test says so."""

    def __init__(self, engine, store):
        self.engine, self.store, self.go, self.begun = engine, store, threading.Event(), threading.Event()
        self.is_closed = False

    def __call__(self, key, jpeg):
        self.begun.set()
        assert self.go.wait(10)
        if self.is_closed:
            raise MachineError("closed")
        self.store.write(key, encode_jpeg(self.engine, jpeg))

    def close(self):
        self.is_closed = True
        self.go.set()


def test_clicks_are_answered_while_another_photo_is_encoded(engine, store):
    """Also on photos that are in the store and not in memory; the click on the photo being encoded waits for it."""
    worker = HeldWorker(engine, store)
    for photo_id in (2, 4):
        store.write(store.key(PHOTOS.jpeg(photo_id)), encode_jpeg(engine, PHOTOS.jpeg(photo_id)))
    masks = PromptedMasks(engine, photos=PHOTOS, store=store, worker=worker)

    async def act():
        masks.set_next("eve", [6, 8])
        await asyncio.to_thread(worker.begun.wait, 10)
        waits = asyncio.ensure_future(masks.predict(10, request(*ONE, annotator="eve")))
        for photo_id in (2, 4, 2):
            await masks.predict(photo_id, request(*ONE))
        assert not waits.done()
        worker.go.set()
        await waits

    try:
        asyncio.run(asyncio.wait_for(act(), 30))
    finally:
        masks.close()


def test_an_embedding_that_was_evicted_is_made_again(engine, store, masks):
    asyncio.run(masks.predict(2, request(*ONE)))
    masks._open.clear()
    for path in store.folder.rglob("*.npy"):
        path.unlink()
    assert len(asyncio.run(masks.predict(2, request(*ONE))).candidates) == 3


def test_a_store_that_keeps_nothing_is_told(masks, store, monkeypatch):
    monkeypatch.setattr(store, "read", lambda key: None)
    with pytest.raises(MachineError, match="the embedding of photo 2 is deleted as soon as it is made"):
        asyncio.run(masks.predict(2, request(*ONE)))


def test_after_warming_up_clicks_compile_nothing(engine, masks):
    asyncio.run(masks.warm_up([(48, 70), (90, 35), (47, 69)], slots=(2, 4)))
    programs = (engine._decode, engine._restore)
    counts = [program._cache_size() for program in programs]
    for photo_id in (1, 2):
        found = asyncio.run(masks.predict(photo_id, request(*ONE)))
        again = asyncio.run(masks.predict(photo_id, request(*TWO, previous=found.candidates[1].handle)))
        for one in (found, again):
            exact(masks, one, photo_id=photo_id)
    assert [program._cache_size() for program in programs] == counts


def test_sixteen_bit_embeddings_move_few_pixels(tmp_path, engine):
    """What half the bytes cost: a click's mask is the same on 99.9% of the pixels, even of masks that are noise."""
    same, iou_change = [], []
    found = {}
    for precision in ("float32", "float16"):
        store = micro_store(tmp_path / precision, engine, precision=precision)
        masks = PromptedMasks(engine, photos=PHOTOS, store=store)
        try:
            for photo_id in range(4):
                for x, y in ((5, 5), (30, 12), (14, 33)):
                    answer = asyncio.run(masks.predict(photo_id, request((x, y, 1))))
                    saved = exact(masks, answer, photo_id=photo_id)
                    found[precision, photo_id, x] = [one.iou for one in answer.candidates], saved
        finally:
            masks.close()
    for (precision, *place), (iou, saved) in found.items():
        if precision == "float16":
            exact_iou, exact_masks = found["float32", *place]
            same.append((saved == exact_masks).mean())
            iou_change.append(np.abs(np.subtract(iou, exact_iou)).max())
    assert np.mean(same) >= 0.999
    assert 0 < max(iou_change) < 0.005


def test_closing_fails_what_waits(engine, store):
    worker = HeldWorker(engine, store)
    masks = PromptedMasks(engine, photos=PHOTOS, store=store, worker=worker)

    async def act():
        waits = asyncio.ensure_future(masks.predict(2, request(*ONE)))
        await asyncio.to_thread(worker.begun.wait, 10)
        await asyncio.to_thread(masks.close)
        with pytest.raises(UserError, match="the server is stopping"):
            await waits

    asyncio.run(asyncio.wait_for(act(), 30))
