"""The model as annotators meet it: clicks in, candidates out; the exact mask of a candidate when it is saved."""

import asyncio
import functools
import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from jaxtyping import Bool, Float32

from samjax.annotate.click_queue import ClickQueue, Lane
from samjax.annotate.clickable_photo import ClickablePhoto, compile_steps, measure_stability
from samjax.annotate.embedding_store import EmbeddingStore
from samjax.annotate.encoding_ahead import EncodingAhead, EncodingStatus, Worker
from samjax.annotate.kept_answers import Answer, KeptAnswers
from samjax.annotate.photo_encoding import PhotoSource, encode_frames, in_frame
from samjax.annotate.prompt_answer import Candidate, Candidates, ExactMask, screen_logits
from samjax.annotate.prompt_request import PromptRequest
from samjax.core.errors import MachineError
from samjax.core.ranges import Count, config_class
from samjax.data.masks import rle
from samjax.predict.engine import Engine
from samjax.predict.promptable.photo_masks import restore_masks
from samjax.predict.promptable.restore import bucket

_TRIES = 3


@config_class("model")
class PromptedMasksConfig:
    """What the server keeps in memory."""

    photos: Count = 64
    """Photos whose embeddings are in memory, 4.2 MB each at 64 x 64 x 256."""
    answers: Count = 64
    """Answers of each annotator whose logits are kept, 0.26 MB per mask at 256 x 256."""
    annotators: Count = 32
    """Annotators whose answers are kept."""


class PromptedMasks:
    """A model that answers annotators. All of JAX runs on one thread, see `ClickQueue`.

        masks = PromptedMasks(engine, photos=photos, store=store, worker=EncoderProcess(make_engine, store=store))
        found = await masks.predict(photo_id, PromptRequest(annotator="ann", points=((x, y),), labels=(1,)))
        mask = await masks.exact_mask(found.candidates[0].handle, photo_id=photo_id)

    A photo's embedding comes from memory, from the store, or from the worker, whichever has it first; clicks on other
    photos are answered meanwhile. `close` it at the end.

    Args:
      engine: of one device. With several, each photo is computed on all of them.
      photos: the photos by id.
      store: embeddings of the engine's encoder.
      worker: encodes photos, such as an `EncoderProcess`; it is closed with this. None: the thread of JAX encodes,
        between clicks, as is best on an accelerator; on a CPU a click may then wait for seconds.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        photos: PhotoSource,
        store: EmbeddingStore,
        worker: Worker | None = None,
        config: PromptedMasksConfig = PromptedMasksConfig(),  # noqa: B008  frozen
    ):
        self._engine, self._photos, self._store, self._config = engine, photos, store, config
        self._queue = ClickQueue()
        self._kept = KeptAnswers(clicks=config.answers, annotators=config.annotators)
        self._open: OrderedDict[int, ClickablePhoto] = OrderedDict()  # only the thread of JAX changes it
        self._keys: dict[int, bytes] = {}
        self._lookups = ThreadPoolExecutor(2, thread_name_prefix="embeddings")
        self._encoding = EncodingAhead(
            worker or _EngineWorker(engine, store=store, queue=self._queue),
            photos=photos,
            store=store,
            on_ready=self._provide,
            on_failure=self._queue.refuse,
        )

    async def predict(self, photo_id: int, request: PromptRequest) -> Candidates:
        """Return the candidates for a request's prompts: three if it is ambiguous, else one.

        A photo that is not encoded yet is encoded first, before those that nobody waits for.

        Raises:
          NewerRequest: the annotator sent a newer request before this one's turn came.
          UserError: a place is outside the photo, `previous` is gone, or the photo cannot be decoded.
          MachineError: the encoder fails.

        For a photo that is not there, raises what `photos[photo_id]` does.
        """
        previous = None
        if request.previous is not None:
            answer, k = self._kept.find(request.previous, photo_id=photo_id)
            previous = answer.logits[k]
        size = self._size(photo_id)
        for _ in range(_TRIES):
            is_open = photo_id in self._open
            future = self._queue.submit(
                functools.partial(self._answer, photo_id, size, request, previous),
                lane=Lane.HOVER if request.is_hover else Lane.CLICK,
                annotator=request.annotator,
                needs=None if is_open else photo_id,
            )
            if not is_open:
                self._lookups.submit(self._look_up, photo_id)
            try:
                return await asyncio.wrap_future(future)
            except _EmbeddingGoneError:
                continue
        raise MachineError(
            f"the embedding of photo {photo_id} is deleted as soon as it is made: give the cache more room"
        )

    async def exact_mask(self, handle: str, *, photo_id: int) -> ExactMask:
        """Return a candidate at the photo's size: the mask of `Predictor.predict` for the same prompts, bit for bit.

        Raises:
          UserError: the handle is gone, or of another photo.
        """
        answer, k = self._kept.find(handle, photo_id=photo_id)
        restore = functools.partial(self._restore, answer, k, self._size(photo_id))
        mask, stability = await asyncio.wrap_future(self._queue.submit(restore, lane=Lane.CLICK))
        runs = await asyncio.to_thread(rle.encode, mask)
        return ExactMask(runs=runs, iou=float(answer.iou[k]), stability=stability)

    def set_next(self, annotator: str, photo_ids: Sequence[int]) -> None:
        """Encode an annotator's photo and the next ones, in this order, before they are clicked on.

        They replace those of the annotator's last call; what somebody waits for goes first.
        """
        self._encoding.set_next(annotator, photo_ids)

    def status(self) -> EncodingStatus:
        """Return what the encoding of photos is doing."""
        return self._encoding.status()

    async def warm_up(self, sizes: Iterable[tuple[int, int]], *, slots: Sequence[int] = (2, 4, 8)) -> None:
        """Compile what clicks on photos of these sizes, (h, w), run, or load it from the cache of programs.

        It happens between clicks, a few programs at a time. The first number of prompt slots is that of a single point
        or box; further ones are of clicks that refine a mask: p points take p + 1 slots, with a box p + 2.
        """
        buckets = {(bucket(height), bucket(width)): (height, width) for height, width in sizes}
        for size in buckets.values():
            steps = compile_steps(self._engine, size=size, slots=slots)
            while await asyncio.wrap_future(self._queue.submit(lambda: next(steps, 0) is None, lane=Lane.BACKGROUND)):  # noqa: B023
                pass

    def close(self) -> None:
        """Stop: what is queued fails, and what is under way ends."""
        self._encoding.stop()
        self._lookups.shutdown()
        self._queue.close()
        self._encoding.close()

    def _size(self, photo_id: int) -> tuple[int, int]:
        photo = self._photos[photo_id]
        return photo.height, photo.width

    def _look_up(self, photo_id: int) -> None:
        """Let the photo's requests go on if its embedding is in the store, else have it encoded."""
        try:
            key = self._store.key(self._photos.jpeg(photo_id))
            if self._store.holds(key):
                self._provide(photo_id, key)
            else:
                self._encoding.first(photo_id)
        except Exception as error:
            self._queue.refuse(photo_id, error)

    def _provide(self, photo_id: int, key: bytes) -> None:
        self._keys[photo_id] = key
        self._queue.provide(photo_id)

    def _answer(
        self,
        photo_id: int,
        size: tuple[int, int],
        request: PromptRequest,
        previous: Float32[np.ndarray, "low_h low_w"] | None,
    ) -> Candidates:
        start = time.perf_counter()
        photo = self._opened(photo_id, size)
        answer = photo.answer(request, previous)
        handles = self._kept.add(request.annotator, answer, is_hover=request.is_hover)
        figures = zip(answer.iou.tolist(), photo.rough_stability(answer.logits).tolist(), handles, strict=True)
        return Candidates(
            candidates=tuple(Candidate(iou=iou, stability=stable, handle=handle) for iou, stable, handle in figures),
            logits=screen_logits(answer.logits, valid=photo.valid),
            valid=photo.valid,
            generation=request.generation,
            decode_ms=1000 * (time.perf_counter() - start),
        )

    def _restore(self, answer: Answer, k: int, size: tuple[int, int]) -> tuple[Bool[np.ndarray, "h w"], float]:
        """Return a mask of an answer at the size of its photo, and its stability there."""
        # all masks of the answer: a program for one alone may round differently
        masks = restore_masks(self._engine, answer.logits[None], photo=size)
        return masks[0, k], float(measure_stability(self._engine, answer.logits, size=size)[k])

    def _opened(self, photo_id: int, size: tuple[int, int]) -> ClickablePhoto:
        """Return the photo with its embedding in memory.

        Raises:
          _EmbeddingGoneError: the store has it no more.
        """
        photo = self._open.get(photo_id)
        if photo is None:
            embedding = self._store.read(self._keys[photo_id])
            if embedding is None:
                raise _EmbeddingGoneError
            photo = ClickablePhoto(self._engine, embedding, photo_id=photo_id, size=size)
            while len(self._open) >= self._config.photos:
                self._open.popitem(last=False)
            self._open[photo_id] = photo
        self._open.move_to_end(photo_id)
        return photo


class _EmbeddingGoneError(Exception):
    """The photo's embedding was deleted between its encoding and its use."""


class _EngineWorker:
    """Encodes on the thread of JAX, when no click waits."""

    def __init__(self, engine: Engine, *, store: EmbeddingStore, queue: ClickQueue):
        self._engine, self._store, self._queue = engine, store, queue

    def __call__(self, key: bytes, jpeg: bytes) -> None:
        framed = in_frame(jpeg, self._engine.config.image_size)
        work = functools.partial(encode_frames, self._engine, [framed])
        self._store.write(key, self._queue.submit(work, lane=Lane.BACKGROUND).result()[0])

    def close(self) -> None:
        """Do nothing: the queue is not this worker's."""
