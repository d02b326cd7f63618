"""Mask2Former's loss: queries are matched to segments, and learn their classes, and their masks at some points.

Cheng et al. 2022, section 3.3. Each prediction, before the first layer and after each, is matched anew and at points of
its own.
"""

from collections.abc import Mapping
from typing import Annotated

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Float32, Int, Int32, Key

from samjax.core.batches import NO_SEGMENT
from samjax.core.random import Rows, keys_of_masks
from samjax.core.ranges import Count, Range, Share, config_class
from samjax.core.struct import struct
from samjax.losses.assignment import match
from samjax.nn.point_reading import corners, in_pixels, sample_points

_Weight = Annotated[float, Range(at_least=0, why="it weighs a loss")]


@config_class("loss")
class SetLossConfig:
    """The loss of a set of segments. The defaults are the published ones."""

    class_weight: _Weight = 2.0
    """Of the cross-entropy of classes, over all queries."""
    mask_weight: _Weight = 5.0
    """Of the binary cross-entropy of masks, the mean over points."""
    dice_weight: _Weight = 5.0
    """Of dice, over the same points."""
    null_weight: _Weight = 0.1
    """Of queries that no segment is matched to, in the cross-entropy of classes."""
    points: Count = 112**2
    """Points at which a mask is compared, and as many others for matching."""
    candidates: Count = 3
    """How many times as many are drawn, of which the least certain are chosen."""
    uncertain_share: Share = 0.75
    """The share of the points that is chosen so; the rest is drawn."""

    @property
    def uncertain(self) -> int:
        """How many points are the least certain of the candidates."""
        return int(self.uncertain_share * self.points)


@struct
class Segments:
    """Photos' segments, at most t of each, none over another."""

    classes: Int[Array, "b t"]
    """Of each, or `NO_SEGMENT`."""
    map: Int[Array, "b h w"]
    """Which segment each pixel belongs to, from 0, or `NO_SEGMENT`."""
    present: Bool[Array, "b"] | None = None
    """Which rows hold a photo; None means that all do. The others count for nothing."""

    @property
    def valid(self) -> Bool[Array, "b t"]:
        """Which segments there are."""
        return (self.classes >= 0) & (True if self.present is None else self.present[:, None])

    @property
    def count(self) -> Float32[Array, ""]:
        """How many there are in all photos, at least 1."""
        return jnp.maximum(jnp.sum(self.valid).astype(jnp.float32), 1.0)


@struct
class PointDraws:
    """Points of one prediction, (x, y) as shares of the frame."""

    matching: Float32[Array, "b p 2"]
    """Where all queries are compared with all segments."""
    candidates: Float32[Array, "b t n 2"]
    """Of which each segment's least certain are chosen."""
    fresh: Float32[Array, "b t m 2"]
    """Which are taken as they are."""


def draw_points(
    key: Key[Array, ""], photos: int, segments: int, config: SetLossConfig, rows: Rows | None = None
) -> PointDraws:
    """Draw uniformly, each photo and segment by a key of its own; `rows` says which photos of the whole batch."""
    keys = keys_of_masks(key, photos, segments + 1, rows=rows)

    def draw(key: Key[Array, ""], points: int) -> Float32[Array, "p 2"]:
        return jax.random.uniform(key, (points, 2))

    def of_segments(points: int, part: int) -> Float32[Array, "b t p 2"]:
        own = jax.vmap(jax.vmap(lambda key: jax.random.fold_in(key, part)))(keys[:, 1:])
        return jax.vmap(jax.vmap(lambda key: draw(key, points)))(own)

    return PointDraws(
        matching=jax.vmap(lambda key: draw(key, config.points))(keys[:, 0]),
        candidates=of_segments(config.candidates * config.points, 0),
        fresh=of_segments(config.points - config.uncertain, 1),
    )


def prediction_losses(
    class_logits: Float32[Array, "b q k"],
    embeddings: Float[Array, "b q d"],
    mask_map: Float[Array, "b gh gw d"],
    segments: Segments,
    draws: PointDraws,
    config: SetLossConfig,
) -> dict[str, Float32[Array, ""]]:
    """Return the three losses of one prediction, not weighted: `class`, `mask` and `dice`.

    The last two are sums over the batch's segments divided by how many they are.

    Args:
      class_logits: of each query, "none" the last.
      embeddings: of each query's mask, whose logits are the products with `mask_map`.
      mask_map: what masks are made of.
      segments: what there is.
      draws: where masks are compared.
      config: weights, of matching too, and numbers of points.
    """
    valid = segments.valid
    chosen = match(_costs(class_logits, embeddings, mask_map, segments, draws.matching, config), valid)

    null = class_logits.shape[-1] - 1
    is_matched = (chosen[:, None] == jnp.arange(class_logits.shape[1])[:, None]) & valid[:, None]
    target = jnp.where(is_matched.any(-1), jnp.max(jnp.where(is_matched, segments.classes[:, None], 0), -1), null)
    weight = jnp.where(target == null, config.null_weight, 1.0)
    if segments.present is not None:
        weight = weight * segments.present[:, None]
    own = jnp.take_along_axis(jax.nn.log_softmax(class_logits), target[..., None], axis=-1)[..., 0]
    of_classes = -jnp.sum(weight * own) / jnp.maximum(jnp.sum(weight), 1e-12)

    matched = jnp.take_along_axis(embeddings, chosen[..., None], axis=1)
    masks = jnp.einsum("btd,bhwd->bthw", matched, mask_map, preferred_element_type=jnp.float32)
    points = _least_certain(jax.lax.stop_gradient(masks), draws, config)
    logits, labels = _at_own_points(masks, points), _labels_at_own_points(segments.map, points)
    cross_entropy = jnp.mean(jax.nn.softplus(logits) - logits * labels, axis=-1)
    probability = jax.nn.sigmoid(logits)
    overlap = 2 * jnp.sum(probability * labels, axis=-1) + 1
    dice = 1 - overlap / (jnp.sum(probability, axis=-1) + jnp.sum(labels, axis=-1) + 1)

    def mean(losses: Float32[Array, "b t"]) -> Float32[Array, ""]:
        return jnp.sum(jnp.where(valid, losses, 0.0)) / segments.count

    return {"class": of_classes, "mask": mean(cross_entropy), "dice": mean(dice)}


def set_loss(
    class_logits: Float32[Array, "n b q k"],
    embeddings: Float[Array, "n b q d"],
    mask_map: Float[Array, "b gh gw d"],
    segments: Segments,
    config: SetLossConfig,
    *,
    key: Key[Array, ""],
    rows: Rows | None = None,
) -> tuple[Float32[Array, ""], Mapping[str, Float32[Array, ""]]]:
    """Return the weighted sum over n predictions, and the three losses of the last one.

    The backward pass computes one prediction after the other again, so that one's masks are in memory.
    """

    @jax.checkpoint
    def of_prediction(one: tuple[Array, Array, Array]) -> dict[str, Array]:
        logits, masks, key = one
        draws = draw_points(key, logits.shape[0], segments.classes.shape[1], config, rows)
        return prediction_losses(logits, masks, mask_map, segments, draws, config)

    keys = jax.random.split(key, class_logits.shape[0])
    parts = jax.lax.map(of_prediction, (class_logits, embeddings, keys))
    weights = {"class": config.class_weight, "mask": config.mask_weight, "dice": config.dice_weight}
    total = jnp.sum(jnp.stack([weights[name] * part for name, part in parts.items()]))
    return total, {name: part[-1] for name, part in parts.items()}


def _costs(
    class_logits: Float32[Array, "b q k"],
    embeddings: Float[Array, "b q d"],
    mask_map: Float[Array, "b gh gw d"],
    segments: Segments,
    points: Float32[Array, "b p 2"],
    config: SetLossConfig,
) -> Float32[Array, "b q t"]:
    """Return what it costs to match each query to each segment: the losses' terms, and a class's probability."""
    embeddings, mask_map = jax.lax.stop_gradient((embeddings, mask_map))
    logits = jnp.einsum("bqd,bpd->bqp", embeddings.astype(jnp.float32), sample_points(mask_map, points))
    labels = _labels(segments.map, points[:, None], segments.classes.shape[1])
    probability = jax.nn.sigmoid(logits)
    positive = jnp.einsum("bqp,btp->bqt", jax.nn.softplus(-logits), labels)
    negative = jnp.einsum("bqp,btp->bqt", jax.nn.softplus(logits), 1 - labels)
    overlap = 2 * jnp.einsum("bqp,btp->bqt", probability, labels) + 1
    dice = 1 - overlap / (jnp.sum(probability, -1)[..., None] + jnp.sum(labels, -1)[:, None] + 1)
    classes = jnp.maximum(segments.classes, 0)[:, None]
    of_class = -jnp.take_along_axis(jax.nn.softmax(class_logits), classes, axis=-1)
    cross_entropy = (positive + negative) / points.shape[1]
    return config.class_weight * of_class + config.mask_weight * cross_entropy + config.dice_weight * dice


def _least_certain(
    masks: Float32[Array, "b t gh gw"], draws: PointDraws, config: SetLossConfig
) -> Float32[Array, "b t p 2"]:
    """Return each segment's points: the candidates of the smallest logits, whatever the sign, and the fresh ones."""
    certainty = jnp.abs(_at_own_points(masks, draws.candidates))
    best = jax.lax.top_k(-certainty, config.uncertain)[1]
    return jnp.concatenate([jnp.take_along_axis(draws.candidates, best[..., None], axis=2), draws.fresh], axis=2)


def _at_own_points(masks: Float32[Array, "b t gh gw"], points: Float32[Array, "b t p 2"]) -> Float32[Array, "b t p"]:
    flat = sample_points(masks.reshape(-1, *masks.shape[2:], 1), points.reshape(-1, *points.shape[2:]))
    return flat.reshape(points.shape[:3])


def _labels_at_own_points(
    segment_map: Int[Array, "b h w"], points: Float32[Array, "b t p 2"]
) -> Float32[Array, "b t p"]:
    """Return how much of each point lies in its own segment."""
    return _labels(segment_map, points, points.shape[1])


def _labels(
    segment_map: Int[Array, "b h w"], points: Float32[Array, "b s p 2"], segments: int
) -> Float32[Array, "b t p"]:
    """Return how much of a point lies in each segment, bilinearly; `points` of each segment, or one set for all."""
    column, row, shares = corners(in_pixels(points, (segment_map.shape[1], segment_map.shape[2])))
    padded = jnp.pad(segment_map, ((0, 0), (1, 1), (1, 1)), constant_values=NO_SEGMENT)
    own = jnp.arange(segments, dtype=segment_map.dtype)[:, None]
    found = jnp.zeros((), jnp.float32)
    for corner, (below, beside) in enumerate(((0, 0), (0, 1), (1, 0), (1, 1))):
        there = _pick(padded, row + 1 + below, column + 1 + beside)
        found = found + jnp.where(there == own, shares[..., corner], 0.0)
    return found


def _pick(
    maps: Int[Array, "b h w"], rows: Int32[Array, "b s p"], columns: Int32[Array, "b s p"]
) -> Int[Array, "b s p"]:
    index = rows * maps.shape[2] + columns
    flat = jnp.take_along_axis(maps.reshape(maps.shape[0], -1), index.reshape(index.shape[0], -1), axis=1)
    return flat.reshape(index.shape)
