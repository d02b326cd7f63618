"""What the queries of one photo say, merged: a panoptic map, ranked instances, or a class for every pixel.

The rules are the authors' (Cheng et al. 2021, 2022). Masks are those of the whole photo, at the size that is wanted:
sigmoids come after the enlargement.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int32
from scipy.special import expit, softmax

from samjax.core.ranges import Probability, Share, config_class

NONE = -1
"""Of pixels that belong to no segment."""


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


def merge_panoptic(
    class_logits: Float32[np.ndarray, "q k"],
    mask_logits: Float32[np.ndarray, "q h w"],
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
    probability = softmax(class_logits, axis=-1)
    classes, scores = probability.argmax(axis=-1), probability.max(axis=-1)
    kept = np.flatnonzero((classes < class_logits.shape[1] - 1) & (scores > rules.least_score))
    found = np.full(mask_logits.shape[1:], NONE, np.int32)
    segments: list[FoundSegment] = []
    if not len(kept):
        return found, segments
    masks = expit(mask_logits[kept])
    owner = (scores[kept, None, None] * masks).argmax(axis=0)
    of_stuff: dict[int, int] = {}
    for place, query in enumerate(kept.tolist()):
        own, inside = owner == place, masks[place] >= 0.5
        taken = own & inside if rules.inside_alone else own
        if not taken.any() or not inside.any() or own.sum() / inside.sum() < rules.least_share:
            continue
        category = int(classes[query])
        if not things[category] and category in of_stuff:
            found[taken] = of_stuff[category]
            continue
        of_stuff[category] = len(segments)
        found[taken] = len(segments)
        segments.append(FoundSegment(category=category, score=float(scores[query])))
    return found, segments


def rank_instances(
    class_logits: Float32[np.ndarray, "q k"],
    mask_logits: Float32[np.ndarray, "q h w"],
    *,
    things: Sequence[bool],
    most: int = 100,
) -> tuple[Bool[np.ndarray, "n h w"], list[FoundSegment]]:
    """Return the masks of the likeliest pairs of a query and a class, and what they are, the best first.

    A query may be there with several classes. Classes that are no things are left out after the ranking.
    """
    probability = softmax(class_logits, axis=-1)[:, :-1]
    order = np.argsort(-probability.ravel(), kind="stable")[:most]
    queries, classes = np.unravel_index(order, probability.shape)
    is_thing = np.asarray(things, bool)[classes]
    queries, classes = queries[is_thing], classes[is_thing]
    masks = mask_logits[queries] > 0
    inside = (expit(mask_logits[queries]) * masks).sum(axis=(1, 2)) / (masks.sum(axis=(1, 2)) + 1e-6)
    scores = probability[queries, classes] * inside
    best = np.argsort(-scores, kind="stable")
    return masks[best], [FoundSegment(category=int(classes[n]), score=float(scores[n])) for n in best.tolist()]


def class_scores(
    class_logits: Float32[np.ndarray, "q k"], mask_logits: Float32[np.ndarray, "q h w"]
) -> Float32[np.ndarray, "h w classes"]:
    """Return each class's score at each pixel: the sum over queries of class times mask, without "none"."""
    return np.einsum("qk,qhw->hwk", softmax(class_logits, axis=-1)[:, :-1], expit(mask_logits))
