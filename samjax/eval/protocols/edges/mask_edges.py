"""Edges of a photo from the masks of all its objects (Segment Anything, section 7.2 and appendix D.2)."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Bool, Float32, Int32

from samjax.eval.protocols.edges.suppression import ridges
from samjax.predict.automatic.generator import MaskGenerator
from samjax.predict.automatic.generator_config import GeneratorConfig
from samjax.predict.engine import Engine
from samjax.predict.promptable.photo_input import as_photos
from samjax.predict.promptable.restore import Resize, to_photo

_CROPS = PartitionSpec(("data", "fsdp"))


def edges_config(*, points_per_side: int = 16) -> GeneratorConfig:
    """Return the paper's: a grid of 16 x 16 points with three masks each, unfiltered, boxes suppressed at 0.7."""
    return GeneratorConfig(
        points_per_side=points_per_side, pred_iou_threshold=0.0, stability_threshold=0.0, box_nms_threshold=0.7
    )


class MaskEdges:
    """The detector, photos split over the mesh of `engine`.

    Of each mask: its probability at the photo's size, unthresholded, Sobel's gradient magnitude of it, zero but on the
    pixels around the mask. The greatest over all masks, scaled to [0, 1], and of that the ridges.
    """

    def __init__(self, engine: Engine, config: GeneratorConfig | None = None):
        self._generator = MaskGenerator(engine, config or edges_config())
        self._mesh = engine.mesh

    @property
    def batch_size(self) -> int:
        """Photos taken at a time."""
        return self._generator.batch_size

    def __call__(self, photos) -> list[Float32[np.ndarray, "_ _"]]:
        """Return the edge maps, in [0, 1], of up to `batch_size` photos, given as `as_photos` takes them."""
        photos = as_photos(photos)
        chosen = self._generator.chosen_logits(photos)
        strongest = np.asarray(
            _strongest(chosen.logits, chosen.slot, chosen.count, chosen.size, chosen.resize, mesh=self._mesh)
        )
        return [
            ridges(_scaled(map_[: photo.shape[0], : photo.shape[1]]))
            for map_, photo in zip(strongest, photos, strict=False)
        ]


def _scaled(strength: Float32[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w"]:
    """Return the map from 0 at its least value to 1 at its greatest; zeros where there is one value alone."""
    least, most = strength.min(), strength.max()
    return (strength - least) / (most - least) if most > least else np.zeros_like(strength)


@partial(jax.jit, static_argnames="mesh")
def _strongest(
    logits: Float32[Array, "b c low_h low_w"],
    slot: Int32[Array, "b c"],
    count: Int32[Array, "b"],
    size: Int32[Array, "b 2"],
    resize: Resize,
    *,
    mesh: Mesh,
) -> Float32[Array, "b h w"]:
    """Return the greatest gradient over the first `count` masks of `slot`, one mask after the other, photos apart."""

    def of_photo(photo):
        logits, slot, count, size, resize = photo

        def with_mask(k, strongest):
            return jnp.maximum(strongest, mask_edges(to_photo(logits[slot[k]], resize), size))

        nothing = jnp.zeros((resize.row_index.shape[0], resize.columns.shape[1]), jnp.float32)
        return jax.lax.fori_loop(0, count, with_mask, nothing)

    def of_each(*photos):
        return jax.lax.map(of_photo, photos)

    on_each = jax.shard_map(of_each, mesh=mesh, in_specs=_CROPS, out_specs=_CROPS, check_vma=False)
    return on_each(logits, slot, count, size, resize)


def mask_edges(logits: Float32[Array, "h w"], size: Int32[Array, "2"]) -> Float32[Array, "h w"]:
    """Return the gradient of a mask's probability on the pixels around the mask, 0 elsewhere.

    Those around are outside and have one of their eight neighbours inside. Beyond the photo, (h, w) of `size`, its
    outermost pixels go on.
    """
    probability, inside = jax.nn.sigmoid(logits), logits > 0
    before, after = [], []
    for axis in range(2):
        place = jnp.arange(logits.shape[axis])
        before.append(jnp.maximum(place - 1, 0))
        after.append(jnp.minimum(place + 1, size[axis] - 1))

    def threes(values, first, middle, last, axis: int):
        return (
            first * jnp.take(values, before[axis], axis=axis)
            + middle * values
            + last * jnp.take(values, after[axis], axis=axis)
        )

    dy = threes(threes(probability, 1.0, 2.0, 1.0, 1), -1.0, 0.0, 1.0, 0)
    dx = threes(threes(probability, 1.0, 2.0, 1.0, 0), -1.0, 0.0, 1.0, 1)
    near = threes(threes(inside.astype(jnp.int8), 1, 1, 1, 0), 1, 1, 1, 1) > 0
    return jnp.where(near & ~inside & _within(logits.shape, size), jnp.hypot(dx, dy), 0.0)


def _within(shape: tuple[int, ...], size: Int32[Array, "2"]) -> Bool[Array, "h w"]:
    return (jnp.arange(shape[0]) < size[0])[:, None] & (jnp.arange(shape[1]) < size[1])
