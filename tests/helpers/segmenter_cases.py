"""Small Segmenters of every published kind: the published configs, but for sizes."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from helpers.golden_logits import GOLDEN, Weights, model_of, weights_of
from samjax.interop.tables.segmenter_rows import AUTHORS, segmenter_rows, segmenter_slots
from samjax.models.dense_prediction.dense_model import DenseConfig, DenseModel
from samjax.models.heads.mask_transformer import MaskTransformerConfig
from samjax.nn.interpolate import Method
from samjax.nn.resize import resize_position_rows

SEGMENTER_GOLDEN = GOLDEN / "segmenter.npz"
CLASSES, WIDTH, HEADS, DEPTH = 3, 16, 2, 2
SQUARE = (64, 64)
CASES: Mapping[str, tuple[DenseConfig, tuple[int, int]]] = {
    "mask": (DenseConfig.segmenter_b16(), (64, 96)),
    "linear": (DenseConfig.segmenter_b16(linear=True), SQUARE),
    "patch 8": (DenseConfig.segmenter_b8(linear=True), SQUARE),
    "distilled": (DenseConfig.segmenter_deit_b16(), SQUARE),
}
"""A published config and the sides of its photo."""


def small(name: str) -> tuple[DenseConfig, tuple[int, int]]:
    """Return a case's config of few, narrow blocks, and the sides of its photo."""
    published, sides = CASES[name]
    encoder = replace(published.encoder, width=WIDTH, heads=HEADS, depth=DEPTH)
    head = published.head
    if isinstance(head, MaskTransformerConfig):
        head = replace(head, head_channels=WIDTH // HEADS)
    config = replace(published, image_size=sides, classes=CLASSES, encoder=encoder, head=head, dtype="float32")
    return config, sides


def segmenter_table(config: DenseConfig):
    """Return rows, slots and layout."""
    return segmenter_rows(config, prefixes={AUTHORS: ""}), segmenter_slots(config), AUTHORS


def segmenter(config: DenseConfig) -> tuple[DenseModel, Weights]:
    """Return our model and its weights by the authors' keys."""
    weights = weights_of(config, *segmenter_table(config))
    return model_of(config, *segmenter_table(config), weights), weights


def resized(config: DenseConfig, sides: tuple[int, int]) -> DenseModel:
    """Return the model of `config` for photos of other sides, its table of positions resized as the authors do."""
    other, patch, key = replace(config, image_size=sides), config.encoder.patch, "encoder.pos_embed"
    old, new = ((height // patch, width // patch) for height, width in (config.image_size, sides))
    weights = weights_of(config, *segmenter_table(config))
    weights[key] = resize_position_rows(weights[key][0], old, new, method=Method.BILINEAR)[np.newaxis]
    return model_of(other, *segmenter_table(other), weights)
