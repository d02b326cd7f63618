"""Small DPTs of every published kind: the published configs, but for sizes."""

from dataclasses import replace

from helpers.golden_logits import GOLDEN, Weights, model_of, weights_of
from samjax.interop.tables.dpt_rows import AUTHORS, dpt_rows, dpt_slots
from samjax.models.dense_prediction.dense_model import DenseConfig, DenseModel
from samjax.models.resnet import ResNetConfig

DPT_GOLDEN = GOLDEN / "dpt.npz"
CASES = tuple(f"{size}_{task}" for size in ("large", "hybrid", "base") for task in ("depth", "segmentation"))
SIDES = (64, 96)
"""Of the photos; the tables of positions are for 64 x 64."""
CLASSES, WIDTH = 3, 8
SMALL_RESNET = ResNetConfig(stem=8, widths=(32, 64, 96), depths=(1, 2, 1), groups=4)


def small(case: str) -> DenseConfig:
    """Return a published config with few, narrow blocks: one up to each tap."""
    published = getattr(DenseConfig, f"dpt_{case}")()
    taps = tuple(range(len(published.encoder.taps)))
    resnet = None if published.encoder.resnet is None else SMALL_RESNET
    encoder = replace(
        published.encoder, width=16, heads=2, depth=len(taps), taps=taps, resnet=resnet, table_size=(64, 64)
    )
    widths = tuple(width and 6 + 2 * level for level, width in enumerate(published.head.map_widths))
    return replace(
        published,
        image_size=SIDES,
        classes=1 if published.classes == 1 else CLASSES,
        encoder=encoder,
        head=replace(published.head, width=WIDTH, map_widths=widths),
        dtype="float32",
    )


def dpt(config: DenseConfig) -> tuple[DenseModel, Weights]:
    """Return our model and its weights by the authors' keys; depth is above zero in most places."""
    table = (dpt_rows(config, prefixes={AUTHORS: ""}), dpt_slots(config), AUTHORS)
    weights = weights_of(config, *table)
    if config.classes == 1:
        weights["scratch.output_conv.4.bias"][:] = 0.05
        weights["scratch.output_conv.4.weight"] *= 5
    return model_of(config, *table, weights), weights
