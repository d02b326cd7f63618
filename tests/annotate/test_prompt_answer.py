"""What the screen gets of an answer: a sixteenth of a logit, where the photo is, in the bytes that were agreed on."""

import json
import math
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from samjax.annotate.prompt_answer import Candidate, Candidates, screen_logits
from samjax.data.masks.packing import fitted_size
from samjax.predict.promptable.restore import axis_taps


def test_logits_are_within_half_a_step_where_they_are_not_clipped():
    logits = np.linspace(-12, 12, 2 * 16 * 16, dtype=np.float32).reshape(2, 16, 16)
    found = screen_logits(logits, valid=(16.0, 16.0)) / 16
    np.testing.assert_allclose(found, np.clip(logits, -127 / 16, 127 / 16), atol=1 / 32)
    assert np.abs(found).max() == 127 / 16


@given(height=st.integers(1, 500), width=st.integers(1, 500))
def test_every_logit_that_the_photo_is_made_of_is_there(height, width):
    """And at most one beyond the photo."""
    frame, low = (64, 64), (16, 16)
    fitted = fitted_size(height=height, width=width, frame=frame)
    valid = (fitted[0] / 4, fitted[1] / 4)
    part = screen_logits(np.zeros((1, *low), np.float32), valid=valid).shape[1:]
    for axis, size in enumerate((height, width)):
        taps = axis_taps(low=low[axis], frame=frame[axis], fitted=fitted[axis], photo=size)
        last = taps.index[taps.weight != 0].max()
        assert last < part[axis] <= min(low[axis], math.ceil(valid[axis]) + 1)


def test_the_screens_formula_finds_the_exact_masks_border():
    """A ramp of logits crosses 0 at the same pixel of the photo, give or take the frame's grid."""
    frame, low, photo = (64, 64), (16, 16), (300, 200)
    fitted = fitted_size(height=photo[0], width=photo[1], frame=frame)
    valid = tuple(fitted[axis] / frame[axis] * low[axis] for axis in range(2))
    ramp = np.broadcast_to(np.linspace(-4, 4, 16, dtype=np.float32), (1, 16, 16))
    row = screen_logits(np.ascontiguousarray(ramp), valid=valid)[0, 0] / 16
    place = (np.arange(photo[1]) + 0.5) * valid[1] / photo[1] - 0.5
    on_screen = np.interp(place, np.arange(len(row)), row)
    taps = axis_taps(low=16, frame=64, fitted=fitted[1], photo=photo[1])
    exact = (ramp[0, 0][taps.index] * taps.weight).sum(axis=1)
    np.testing.assert_allclose(on_screen, exact, atol=0.1)
    assert abs(int((on_screen > 0).argmax()) - int((exact > 0).argmax())) <= 1


@pytest.mark.parametrize("masks", [1, 3])
def test_a_packed_answer_can_be_unpacked(masks):
    logits = np.random.default_rng(0).integers(-127, 128, (masks, 5, 7), dtype=np.int8)
    answer = Candidates(
        candidates=tuple(Candidate(iou=0.9 - k / 8, stability=0.5, handle=f"a.1.{k}") for k in range(masks)),
        logits=logits,
        valid=(4.5, 6.25),
        generation=12,
        decode_ms=40.123,
    )
    content = answer.pack()
    (length,) = struct.unpack_from("<I", content)
    header = json.loads(content[4 : 4 + length])
    assert header == {
        "generation": 12,
        "height": 5,
        "width": 7,
        "valid": [4.5, 6.25],
        "candidates": [{"iou": 0.9 - k / 8, "stability": 0.5, "handle": f"a.1.{k}"} for k in range(masks)],
        "decode_ms": 40.12,
    }
    found = np.frombuffer(content, np.int8, offset=4 + length).reshape(masks, header["height"], header["width"])
    np.testing.assert_array_equal(found, logits)
