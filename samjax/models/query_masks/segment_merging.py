"""What the queries of one photo say, merged: a panoptic map, ranked instances, or a class for every pixel.

The rules are the authors' (Cheng et al. 2021, 2022). Masks are those of the whole photo, at the size that is wanted:
sigmoids come after the enlargement. What takes all masks runs on the device; what is left to decide is a few numbers a
query.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float32, Int, Int32

from samjax.core.batches import NO_SEGMENT
from samjax.core.ranges import Probability, Share, config_class
from samjax.core.struct import struct


@config_class("rules")
class PanopticRules:
    """Which queries become segments. The defaults are Mask2Former's."""

    least_score: Probability = 0.8
    """A query counts whose class is likelier than this."""
    least_share: Share = 0.8
    """A segment is kept if at least this share of its mask was not taken by others."""
    inside_alone: bool = True
    """Whether a pixel must lie in the mask of the query that it goes to; MaskFormer's may not."""


@dataclass(frozen=True, kw_only=True)
class FoundSegment:
    """One segment of a photo."""

    category: int
    score: float
    """The probability of its class; of an instance, times the mean of its mask's."""


@struct
class Owners:
    """Which query each pixel of a photo goes to."""

    classes: Int[Array, "q"]
    """The likeliest of each query, the last "none"."""
    scores: Float32[Array, "q"]
    """Its probability."""
    owner: Int[Array, "h w"]
    """The query of the highest product of class and mask at each pixel; `NO_SEGMENT` where none counts."""
    is_inside: Bool[Array, "h w"]
    """Whether the pixel lies in this query's mask."""
    areas: Int[Array, "q"]
    """Pixels of each query's mask."""


def find_owners(
    class_logits: Float[Array, "q k"],
    mask_logits: Float[Array, "q h w"],
    rules: PanopticRules,
    *,
    valid: Bool[Array, "h w"] | None = None,
) -> Owners:
    """Return which query each pixel goes to, on the device; none where a pixel is not `valid`."""
    probability = jax.nn.softmax(class_logits.astype(jnp.float32), axis=-1)
    classes, scores = jnp.argmax(probability, axis=-1), jnp.max(probability, axis=-1)
    counts = (classes < class_logits.shape[1] - 1) & (scores > rules.least_score)
    masks = jax.nn.sigmoid(mask_logits.astype(jnp.float32))
    there = jnp.ones(masks.shape[1:], bool) if valid is None else valid
    owner = jnp.argmax(jnp.where(counts, scores, -1.0)[:, None, None] * masks, axis=0)
    own_mask = jnp.take_along_axis(masks, owner[None], axis=0)[0]
    return Owners(
        classes=classes,
        scores=scores,
        owner=jnp.where(counts.any() & there, owner, NO_SEGMENT),
        is_inside=(own_mask >= 0.5) & there,
        areas=jnp.sum((masks >= 0.5) & there, axis=(1, 2)),
    )


def merge_owners(
    owners: Owners, *, things: Sequence[bool], rules: PanopticRules
) -> tuple[Int32[np.ndarray, "h w"], list[FoundSegment]]:
    """Return which segment each pixel belongs to, from 0, and the segments; see `merge_panoptic`."""
    owner, is_inside = np.asarray(owners.owner), np.asarray(owners.is_inside)
    classes, scores, areas = (np.asarray(one) for one in (owners.classes, owners.scores, owners.areas))
    queries = len(classes)
    is_taken = is_inside | (not rules.inside_alone)
    own = np.bincount(owner.ravel() + 1, minlength=queries + 1)[1:]
    taken = np.bincount(owner[is_taken] + 1, minlength=queries + 1)[1:]
    segment_of = np.full(queries + 1, NO_SEGMENT, np.int32)
    segments: list[FoundSegment] = []
    of_stuff: dict[int, int] = {}
    for query in np.flatnonzero((taken > 0) & (areas > 0)).tolist():
        if own[query] / areas[query] < rules.least_share:
            continue
        category = int(classes[query])
        if not things[category] and category in of_stuff:
            segment_of[query + 1] = of_stuff[category]
            continue
        of_stuff[category] = segment_of[query + 1] = len(segments)
        segments.append(FoundSegment(category=category, score=float(scores[query])))
    return np.where(is_taken, segment_of[owner + 1], NO_SEGMENT).astype(np.int32), segments


def merge_panoptic(
    class_logits: Float[Array, "q k"],
    mask_logits: Float[Array, "q h w"],
    *,
    things: Sequence[bool],
    rules: PanopticRules | None = None,
) -> tuple[Int32[np.ndarray, "h w"], list[FoundSegment]]:
    """Return which segment each pixel belongs to, from 0, and the segments.

    Each pixel goes to the query of the highest product of class and mask. Segments of one class that cannot be counted
    become one.

    Args:
      class_logits: of each query; the last is "none".
      mask_logits: of each query's mask.
      things: of each class, whether it can be counted.
      rules: which queries become segments.
    """
    rules = rules or PanopticRules()
    return merge_owners(find_owners(class_logits, mask_logits, rules), things=things, rules=rules)


def rank_instances(
    class_logits: Float[Array, "q k"], mask_logits: Float[Array, "q h w"], *, things: Sequence[bool], most: int = 100
) -> tuple[Bool[np.ndarray, "n h w"], list[FoundSegment]]:
    """Return the masks of the likeliest pairs of a query and a class, and what they are, the best first.

    A query may be there with several classes. Classes that are no things are left out after the ranking.
    """
    probability = np.asarray(jax.nn.softmax(class_logits.astype(jnp.float32), axis=-1))[:, :-1]
    inside, whole = mask_logits > 0, jax.nn.sigmoid(mask_logits.astype(jnp.float32))
    certainty = np.asarray(jnp.sum(whole * inside, axis=(1, 2)) / (jnp.sum(inside, axis=(1, 2)) + 1e-6))
    order = np.argsort(-probability.ravel(), kind="stable")[:most]
    queries, classes = np.unravel_index(order, probability.shape)
    is_thing = np.asarray(things, bool)[classes]
    queries, classes = queries[is_thing], classes[is_thing]
    scores = probability[queries, classes] * certainty[queries]
    best = np.argsort(-scores, kind="stable")
    found = [FoundSegment(category=int(classes[n]), score=float(scores[n])) for n in best.tolist()]
    return np.asarray(inside[queries[best]]), found


def class_scores(
    class_logits: Float[Array, "q k"], mask_logits: Float[Array, "q h w"]
) -> Float32[Array, "h w classes"]:
    """Return each class's score at each pixel: the sum over queries of class times mask, without "none"."""
    of_classes = jax.nn.softmax(class_logits.astype(jnp.float32), axis=-1)[:, :-1]
    return jnp.einsum("qk,qhw->hwk", of_classes, jax.nn.sigmoid(mask_logits.astype(jnp.float32)))
