"""How well a model of queries finds the segments of held-out photos, and pictures of it."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float32, Int

from samjax.core.batches import NO_SEGMENT, SegmentSetBatch
from samjax.data.stream.example import NO_RECORD
from samjax.models.query_masks.mask2former import Mask2Former, Mask2FormerConfig
from samjax.models.query_masks.segment_merging import Owners, PanopticRules, find_owners, merge_owners
from samjax.nn.interpolate import interpolate
from samjax.pictures.canvas import Cell, Grid
from samjax.pictures.class_map import class_colours, overlay_classes
from samjax.scores.panoptic_quality import PanopticCounter
from samjax.training.validation import Better

FIGURES: Mapping[str, Better] = {"pq": Better.HIGHER, "sq": Better.HIGHER, "rq": Better.HIGHER}
"""What a validation reports: panoptic quality at the model's frame, of whole photos, and what it is the product of."""
_SIDE = 224
_HEADINGS = ("photo", "truth", "prediction")


class SetValidator:
    """Finds the segments of the same held-out photos each time it is called.

    `merge` makes a model of parameters and buffers; `batches` are read anew for each validation. What is counted and
    drawn is laid out as `replicated` says, so that every process returns the same row and pictures.
    """

    def __init__(
        self,
        merge: Callable[[Any, Any], Mask2Former],
        *,
        config: Mask2FormerConfig,
        batches: Callable[[], Any],
        sheet_rows: int,
        replicated: jax.sharding.Sharding,
        rules: PanopticRules | None = None,
    ):
        self._config, self._batches, self._sheet_rows = config, batches, sheet_rows
        self._rules = rules or PanopticRules()
        self._colours = class_colours([None] * config.decoder.queries)

        def look(params: Any, buffers: Any, batch: SegmentSetBatch) -> tuple[Owners, SegmentSetBatch]:
            said = merge(params, buffers)(batch.image, batch.valid_size)
            size = (batch.image.shape[1], batch.image.shape[2])

            def of_photo(
                one: tuple[Float32[Array, "q k"], Float32[Array, "q gh gw"], Int[Array, "2"]],
            ) -> Owners:
                classes, masks, (height, width) = one
                enlarged = jnp.moveaxis(interpolate(jnp.moveaxis(masks, 0, -1)[None], size)[0], -1, 0)
                valid: Bool[Array, "h w"] = (jnp.arange(size[0]) < height)[:, None] & (jnp.arange(size[1]) < width)
                return find_owners(classes, enlarged, self._rules, valid=valid)

            # One photo after another: the masks of a hundred queries are large.
            return jax.lax.map(of_photo, (said.class_logits[-1], said.mask_logits(), batch.valid_size)), batch

        self._look = jax.jit(look, out_shardings=replicated)

    def __call__(self, state: Any, step: int) -> tuple[dict[str, float | int], dict[str, np.ndarray]]:
        """Return the row of metrics and the picture sheet; `state` has `params` and `buffers`."""
        del step
        counter, photos, rows = PanopticCounter(self._config.classes), 0, []
        for batch in self._batches():
            owners, batch = jax.device_get(self._look(state.params, state.buffers, batch))
            for photo in np.flatnonzero(batch.record_id != NO_RECORD).tolist():
                height, width = batch.valid_size[photo].tolist()
                own: Owners = jax.tree.map(lambda leaf, photo=photo: leaf[photo], owners)
                found, segments = merge_owners(own, things=self._config.things, rules=self._rules)
                truth, found = batch.segment_map[photo, :height, :width], found[:height, :width]
                classes = batch.classes[photo]
                counter.add(truth, classes[classes != NO_SEGMENT].tolist(), found, [one.category for one in segments])
                photos += 1
                if len(rows) < self._sheet_rows:
                    picture = batch.image[photo, :height, :width]
                    drawn = (overlay_classes(picture, one, self._colours) for one in (truth, found))
                    rows.append([Cell(picture=picture), *(Cell(picture=one) for one in drawn)])
        sheet = {"val_segments": Grid(rows=rows, side=_SIDE, headings=_HEADINGS).draw()} if rows else {}
        return {**self._figures(counter), "photos": photos}, sheet

    def _figures(self, counter: PanopticCounter) -> dict[str, float | int]:
        quality, things = counter.quality(), np.array(self._config.things)
        found: dict[str, float | int] = {"pq": quality.pq, "sq": quality.sq, "rq": quality.rq}
        if things.any() and not things.all():
            found |= {"pq_things": counter.quality(things).pq, "pq_stuff": counter.quality(~things).pq}
        return found
