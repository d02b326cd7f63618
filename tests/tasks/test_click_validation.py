"""mIoU after clicks: a perfect annotatee scores 1, an empty one 0, and the oracle is never below."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from samjax.core.batches import Batch
from samjax.core.prompts import MaskOutput
from samjax.models.sam.sam import Sam
from samjax.parallel.mesh import MeshConfig, make_mesh
from samjax.parallel.sharding import replicated
from samjax.tasks import click_validation
from samjax.tasks.click_validation import ClickValidator


class Oracle(Sam):
    """Knows each photo's masks; token 1 is the truth, tokens 2 and 3 its opposite, and `trusted` gets the top IoU."""

    def __init__(self, masks, *, trusted, last):
        truth = jnp.where(masks[..., 2::4, 2::4], 5.0, -5.0)
        logits = jnp.stack([last * truth, truth, -truth, -truth], axis=2)
        iou = jnp.broadcast_to(jax.nn.one_hot(trusted, 4), logits.shape[:3])
        self.answer = lambda prompts, key: MaskOutput(logits=logits, iou=iou)

    def encode(self, image, valid_size):
        return jnp.zeros((image.shape[0], 4, 4, 8))

    def decoder(self, embedding):
        return self.answer


PICTURE = np.zeros((1, 1, 3), np.uint8)


class State:
    params, buffers = None, None


@pytest.fixture
def batch():
    masks = np.zeros((2, 2, 64, 64), bool)
    masks[0, 0, 16:32, 16:48] = True
    masks[0, 1, 32:, :16] = True
    masks[1, 0, :16, :32] = True  # the last slot is empty
    return Batch(
        image=jnp.full((2, 64, 64, 3), 90, jnp.uint8),
        valid_size=jnp.array([[64, 64], [48, 64]], jnp.int32),
        masks=jnp.asarray(np.packbits(masks, axis=-1)),
        mask_valid=jnp.array([[True, True], [True, False]]),
        record_id=jnp.arange(2, dtype=jnp.int32),
    )


def _validate(batch, micro, *, trusted, last, sheet_rows=0):
    masks = jnp.unpackbits(batch.masks, axis=-1).astype(bool)
    validator = ClickValidator(
        lambda params, buffers: Oracle(masks, trusted=trusted, last=last),
        micro,
        batches=lambda: [batch],
        clicks=(1, 3),
        sheet_rows=sheet_rows,
        replicated=replicated(make_mesh(MeshConfig(), jax.devices()[:1])),
    )
    return validator(State(), 0)


def test_the_truth_scores_one_and_padding_slots_do_not_count(batch, micro):
    row, _ = _validate(batch, micro, trusted=1, last=1.0)
    perfect = pytest.approx(1.0, abs=0.01)  # bilinear logits round a square's corners
    assert row == {"miou@1": perfect, "miou@3": perfect, "oracle@1": perfect, "photos": 2, "masks": 3}


def test_the_mask_trusted_most_is_scored_and_the_oracle_takes_the_best(batch, micro):
    row, _ = _validate(batch, micro, trusted=2, last=-1.0)
    assert max(row["miou@1"], row["miou@3"]) < 0.01
    assert row["oracle@1"] > 0.99


def test_the_sheet_shows_a_row_a_photo(batch, micro):
    _, pictures = _validate(batch, micro, trusted=1, last=1.0, sheet_rows=2)
    _, fewer = _validate(batch, micro, trusted=1, last=1.0, sheet_rows=1)
    assert list(pictures) == ["val_clicks"]
    assert pictures["val_clicks"].shape[0] > 1.8 * fewer["val_clicks"].shape[0]
    assert len(np.unique(pictures["val_clicks"].reshape(-1, 3), axis=0)) > 50


def test_the_mask_drawn_is_the_mask_scored(batch, micro, monkeypatch):
    """The IoU of the masks on the sheet is the one that their captions give."""
    rows = []
    monkeypatch.setattr(click_validation, "draw_sheet", lambda drawn: rows.extend(drawn) or PICTURE)
    _validate(batch, micro, trusted=1, last=1.0, sheet_rows=2)
    assert len(rows) == 2
    for row in rows:
        for mask, caption in zip(row.predictions, row.captions, strict=True):
            iou = (mask & row.truth).sum() / (mask | row.truth).sum()
            assert 0.9 < iou <= 1
            assert caption.endswith(f"iou {iou:.2f}")
