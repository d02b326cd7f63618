"""The model as annotators meet it: clicks in, candidates out; the exact mask of a candidate when it is saved."""

import asyncio
import functools
import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32

from samjax.annotate.click_queue import ClickQueue, Lane
from samjax.annotate.embedding_store import EmbeddingStore
from samjax.annotate.encoding_ahead import EncodingAhead, EncodingStatus, Worker
from samjax.annotate.kept_answers import Answer, KeptAnswers
from samjax.annotate.photo_encoding import PhotoSource, encode_jpeg
from samjax.annotate.prompt_answer import Candidate, Candidates, ExactMask, screen_logits
from samjax.annotate.prompt_request import PromptRequest
from samjax.core.errors import MachineError
from samjax.core.ranges import Count, config_class
from samjax.data.masks import rle
from samjax.data.masks.packing import fitted_size
from samjax.predict.automatic.mask_statistics import measure
from samjax.predict.automatic.tiles import Tiling, tilings
from samjax.predict.engine import Engine
from samjax.predict.promptable.photo_masks import restore_masks
from samjax.predict.promptable.predictor import LogitsPrediction, Predictor
from samjax.predict.promptable.restore import bucket

_TRIES = 3
_STABILITY_OFFSET = 1.0
"""Of `samjax generate` by default."""


@config_class("model")
class PromptedMasksConfig:
    """What the server keeps in memory."""

    photos: Count = 64
    """Photos whose embeddings are in memory, 4.2 MB each at 64 x 64 x 256."""
    answers: Count = 64
    """Answers of each annotator whose logits are kept, 0.26 MB per mask at 256 x 256."""
    annotators: Count = 32
    """Annotators whose answers are kept."""


class _EmbeddingGoneError(Exception):
    """The photo's embedding was deleted between its encoding and its use."""


@dataclass(frozen=True, kw_only=True)
class _OpenPhoto:
    """A photo whose embedding is in memory."""

    predictor: Predictor
    valid: tuple[float, float]
    """Rows and columns of the logits that the photo covers."""
    tiling: Tiling


class PromptedMasks:
    """A model that answers annotators. All of JAX runs on one thread, see `ClickQueue`.

    A photo's embedding comes from memory, from the store, or from the encoder, whichever has it first; clicks on other
    photos are answered meanwhile. `close` it at the end.

    Args:
      engine: of one device. With several, each photo is computed on all of them.
      photos: the photos by id.
      store: embeddings of the engine's encoder.
      worker: encodes photos, such as an `EncoderProcess`. None: the thread of JAX does, between clicks, as is best on
        an accelerator; on a CPU a click may then wait for seconds.
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
        self._open: OrderedDict[int, _OpenPhoto] = OrderedDict()
        self._keys: dict[int, bytes] = {}
        self._lookups = ThreadPoolExecutor(1, thread_name_prefix="embeddings")
        self._encoding = EncodingAhead(
            worker or self._encode_here,
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
          LookupError: there is no such photo.
        """
        previous = None
        if request.previous is not None:
            answer, k = self._kept.find(request.previous, photo_id=photo_id)
            previous = answer.logits[k]
        photo = self._photos[photo_id]
        size = (photo.height, photo.width)
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
        photo = self._photos[photo_id]
        size = (photo.height, photo.width)
        future = self._queue.submit(
            lambda: restore_masks(self._engine, answer.logits[None], photo=size)[0, k], lane=Lane.CLICK
        )
        mask = await asyncio.wrap_future(future)
        runs = await asyncio.to_thread(rle.encode, mask)
        return ExactMask(runs=runs, iou=float(answer.iou[k]), stability=float(answer.stability[k]))

    def set_next(self, annotator: str, photo_ids: Sequence[int]) -> None:
        """Encode an annotator's photo and the next ones, in this order, before they are clicked on."""
        self._encoding.set_next(annotator, photo_ids)

    def status(self) -> EncodingStatus:
        """Return what the encoding of photos is doing."""
        return self._encoding.status()

    async def warm_up(self, sizes: Iterable[tuple[int, int]], *, slots: Sequence[int] = (2, 4, 8)) -> None:
        """Compile what the first clicks on photos of these sizes, (h, w), run, unless it is cached; clicks go first.

        `slots` are numbers of prompt slots, powers of two: a point or box alone takes 2, p points and a box p + 2.
        """
        buckets = {(bucket(height), bucket(width)): (height, width) for height, width in sizes}
        works = [functools.partial(self._compile, size, slots[:1]) for size in buckets.values()]
        if buckets:
            works.append(functools.partial(self._compile, next(iter(buckets.values())), slots))
        for work in works:
            await asyncio.wrap_future(self._queue.submit(work, lane=Lane.BACKGROUND))

    def close(self) -> None:
        """Stop: what is queued fails, what is under way ends. Close an `EncoderProcess` first."""
        self._lookups.shutdown()
        self._queue.close()
        self._encoding.close()

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

    def _encode_here(self, key: bytes, jpeg: bytes) -> None:
        """Encode on the thread of JAX, when no click waits."""

        def encode() -> None:
            self._store.write(key, encode_jpeg(self._engine, jpeg))

        self._queue.submit(encode, lane=Lane.BACKGROUND).result()

    def _answer(
        self,
        photo_id: int,
        size: tuple[int, int],
        request: PromptRequest,
        previous: Float32[np.ndarray, "low_h low_w"] | None,
    ) -> Candidates:
        start = time.perf_counter()
        photo = self._opened(photo_id, size)
        found = _predict(photo.predictor, request, previous)
        order = np.argsort(-found.iou[0], kind="stable")
        logits, iou = found.logits[0, order], found.iou[0, order]
        stability = np.asarray(_stability(logits, photo.tiling))
        answer = Answer(photo_id=photo_id, logits=logits, iou=iou, stability=stability)
        handles = self._kept.add(request.annotator, answer, is_hover=request.is_hover)
        candidates = tuple(
            Candidate(iou=float(iou[k]), stability=float(stability[k]), handle=handle)
            for k, handle in enumerate(handles)
        )
        return Candidates(
            candidates=candidates,
            logits=screen_logits(logits, valid=photo.valid),
            valid=photo.valid,
            generation=request.generation,
            decode_ms=1000 * (time.perf_counter() - start),
        )

    def _opened(self, photo_id: int, size: tuple[int, int]) -> _OpenPhoto:
        """Return the photo with its embedding in memory.

        Raises:
          _EmbeddingGoneError: the store has it no more.
        """
        photo = self._open.get(photo_id)
        if photo is None:
            embedding = self._store.read(self._keys[photo_id])
            if embedding is None:
                raise _EmbeddingGoneError
            photo = self._with_embedding(embedding, size)
            while len(self._open) >= self._config.photos:
                self._open.popitem(last=False)
            self._open[photo_id] = photo
        self._open.move_to_end(photo_id)
        return photo

    def _with_embedding(self, embedding: Float32[np.ndarray, "gh gw c"], size: tuple[int, int]) -> _OpenPhoto:
        config = self._engine.config
        frame, low = config.image_size, config.logits_size
        predictor = Predictor(self._engine)
        predictor.set_embedding(embedding, photo=size)
        fitted = fitted_size(height=size[0], width=size[1], frame=frame)
        tiling = jax.tree.map(lambda part: jnp.asarray(part[0]), tilings([size], low=low, frame=frame, fitted=[fitted]))
        valid = (fitted[0] / frame[0] * low[0], fitted[1] / frame[1] * low[1])
        return _OpenPhoto(predictor=predictor, valid=valid, tiling=tiling)

    def _compile(self, size: tuple[int, int], slots: Sequence[int]) -> None:
        """Run every program of a photo of this size, on an embedding of zeros."""
        config = self._engine.config
        photo = self._with_embedding(np.zeros((*config.grid, config.embedding), np.float32), size)
        previous = None
        for points in (max(1, count - 2) for count in slots):
            request = PromptRequest(annotator="", points=((0.0, 0.0),) * points, labels=(1,) * points)
            found = _predict(photo.predictor, request, previous)
            _stability(found.logits[0], photo.tiling)
            restore_masks(self._engine, found.logits, photo=size)
            previous = found.logits[0, 0]


def _predict(
    predictor: Predictor, request: PromptRequest, previous: Float32[np.ndarray, "low_h low_w"] | None
) -> LogitsPrediction:
    return predictor.predict_logits(
        points=[request.points] if request.points else None,
        labels=[request.labels] if request.points else None,
        boxes=[request.box] if request.box else None,
        mask_logits=None if previous is None else previous[None],
        multimask=request.is_ambiguous,
    )


@jax.jit
def _stability(logits: Float32[Array | np.ndarray, "k low_h low_w"], tiling: Tiling) -> Float32[Array, "k"]:
    """Return the stability of each mask, as `samjax generate` computes it."""
    wanted = jnp.ones(logits.shape[0], bool)
    return measure(jnp.asarray(logits), wanted, tiling, offset=_STABILITY_OFFSET).stability()
