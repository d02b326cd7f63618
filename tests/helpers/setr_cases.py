"""Small SETRs of every published kind: the published configs, but for sizes."""

from dataclasses import replace

from helpers.golden_logits import GOLDEN, Weights, model_of, weights_of
from samjax.interop.tables.setr_rows import AUTHORS, MMSEGMENTATION, setr_rows, setr_slots
from samjax.models.dense_prediction.dense_model import DenseConfig, DenseModel
from samjax.models.heads.mla import MlaConfig

SETR_GOLDEN = GOLDEN / "setr.npz"
CLASSES, WIDTH, LEVEL_WIDTH = 3, 16, 8
PUBLISHED = {
    (layout, name): getattr(DenseConfig, f"setr_{name}")(mmsegmentation=layout == MMSEGMENTATION)
    for layout in (AUTHORS, MMSEGMENTATION)
    for name in ("naive", "pup", "mla")
}
"""By layout and name. The authors' code takes square photos alone."""


def small(layout: str, name: str) -> DenseConfig:
    """Return a published config with few, narrow blocks: one up to each tap."""
    published = PUBLISHED[layout, name]
    blocks = sorted({*published.encoder.taps, published.encoder.depth - 1})
    taps = tuple(blocks.index(tap) for tap in published.encoder.taps)
    encoder = replace(published.encoder, width=WIDTH, heads=2, depth=len(blocks), taps=taps)
    head = published.head
    if isinstance(head, MlaConfig):
        head = replace(head, level_width=LEVEL_WIDTH)  # other widths are constants in the authors' code
    sides = (64, 64) if layout == AUTHORS else (64, 96)
    return replace(published, image_size=sides, classes=CLASSES, encoder=encoder, head=head, dtype="float32")


def setr_table(config: DenseConfig, layout: str):
    """Return rows, slots and layout."""
    return setr_rows(config, prefixes={layout: ""}), setr_slots(config), layout


def setr(config: DenseConfig, layout: str) -> tuple[DenseModel, Weights]:
    """Return our model and its weights by the layout's keys."""
    table = setr_table(config, layout)
    weights = weights_of(config, *table)
    return model_of(config, *table, weights), weights
