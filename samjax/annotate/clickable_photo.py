"""A photo whose embedding is in memory: prompts in, logits and figures out. Runs on the thread of JAX."""

import math
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32

from samjax.annotate.kept_answers import Answer
from samjax.annotate.prompt_request import PromptRequest
from samjax.data.masks.packing import fitted_size
from samjax.predict.automatic.mask_statistics import measure
from samjax.predict.automatic.tiles import Tiling, tilings
from samjax.predict.engine import Engine
from samjax.predict.promptable.photo_masks import restore_masks
from samjax.predict.promptable.predictor import Predictor

_STABILITY_OFFSET = 1.0
"""Of `samjax generate` by default."""


class ClickablePhoto:
    """A photo of `size` (h, w) with its embedding.

    `valid` is how many rows and columns of the logits it covers.
    """

    def __init__(
        self, engine: Engine, embedding: Float32[np.ndarray, "gh gw c"], *, photo_id: int, size: tuple[int, int]
    ):
        frame, low = engine.config.image_size, engine.config.logits_size
        fitted = fitted_size(height=size[0], width=size[1], frame=frame)
        self.photo_id, self.size = photo_id, size
        self.valid = (fitted[0] / frame[0] * low[0], fitted[1] / frame[1] * low[1])
        self._predictor = Predictor(engine)
        self._predictor.set_embedding(embedding, photo=size)

    def answer(self, request: PromptRequest, previous: Float32[np.ndarray, "low_h low_w"] | None) -> Answer:
        """Return the masks for a request's prompts and the logits of `previous`, by descending predicted IoU.

        Raises:
          UserError: a place is outside the photo.
        """
        found = self._predictor.predict_logits(
            points=[request.points] if request.points else None,
            labels=[request.labels] if request.points else None,
            boxes=None if request.box is None else [request.box],
            mask_logits=None if previous is None else previous[None],
            multimask=request.is_ambiguous,
        )
        order = np.argsort(-found.iou[0], kind="stable")
        return Answer(photo_id=self.photo_id, logits=found.logits[0, order], iou=found.iou[0, order])

    def rough_stability(self, logits: Float32[np.ndarray, "k low_h low_w"]) -> Float32[np.ndarray, "k"]:
        """Return each mask's stability as the grid of the logits shows it, not the photo's pixels: in no time."""
        part = logits[:, : math.ceil(self.valid[0]), : math.ceil(self.valid[1])]
        high, low = ((part > level).sum(axis=(1, 2)) for level in (_STABILITY_OFFSET, -_STABILITY_OFFSET))
        return (high / np.maximum(low, 1)).astype(np.float32)


def measure_stability(
    engine: Engine, logits: Float32[np.ndarray, "k low_h low_w"], *, size: tuple[int, int]
) -> Float32[np.ndarray, "k"]:
    """Return each mask's stability in the pixels of a photo of this size, (h, w), as `samjax generate` computes it."""
    frame, low = engine.config.image_size, engine.config.logits_size
    fitted = fitted_size(height=size[0], width=size[1], frame=frame)
    tiling = jax.tree.map(lambda part: part[0], tilings([size], low=low, frame=frame, fitted=[fitted]))
    return np.asarray(_stability(logits, tiling))


def compile_steps(engine: Engine, *, size: tuple[int, int], slots: Sequence[int]) -> Iterator[None]:
    """Run the programs of clicks on photos of this size, (h, w), one after each step of the iterator.

    `slots` are numbers of prompt slots, powers of two: p points take p + 1. Those after the first are of further clicks
    that refine a mask.
    """
    config = engine.config
    embedding = np.zeros(config.embedding_shape, np.float32)
    photo, previous = ClickablePhoto(engine, embedding, photo_id=0, size=size), None
    for count in slots:
        points = ((0.0, 0.0),) * (count - 1)
        answer = photo.answer(PromptRequest(annotator="", points=points, labels=(1,) * len(points)), previous)
        yield
        restore_masks(engine, answer.logits[None], photo=size)
        measure_stability(engine, answer.logits, size=size)
        yield
        previous = answer.logits[0]


@jax.jit
def _stability(logits: Float32[Array | np.ndarray, "k low_h low_w"], tiling: Tiling) -> Float32[Array, "k"]:
    wanted = jnp.ones(logits.shape[0], bool)
    return measure(jnp.asarray(logits), wanted, tiling, offset=_STABILITY_OFFSET).stability()
