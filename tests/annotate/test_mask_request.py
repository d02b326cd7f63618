"""What a browser sends: a mask, or a sentence that names the field."""

import contextlib
import json

import pytest
from helpers.annotators import new_uuid, rectangle
from hypothesis import given
from hypothesis import strategies as st

from samjax.annotate.mask_request import parse_mask, parse_prompts
from samjax.annotate.refusals import InvalidMaskError
from samjax.annotate.saved_mask import Effort, Prompts, Source

BODY = {
    "source": "box",
    "prompts": {"points": [[1, 2.5], [3, 4]], "labels": [1, 0], "box": [0, 1, 2, 3]},
    "seconds": 3,
    "active_seconds": 2.5,
    "clicks": 2,
    "effort": {"first_seconds": 1, "boxes": 1, "strokes": 0, "undos": 3, "decode_ms": [40, 41.5]},
    "lease": 7,
}


def parse(body):
    return parse_mask(body, uuid=new_uuid(0), annotator="ann", runs=rectangle())


def test_a_request_is_read_whole():
    mask = parse(BODY)
    assert (mask.source, mask.seconds, mask.active_seconds, mask.clicks) == (Source.BOX, 3.0, 2.5, 2)
    assert mask.prompts == Prompts(points=((1.0, 2.5), (3.0, 4.0)), labels=(1, 0), box=(0.0, 1.0, 2.0, 3.0))
    assert parse_prompts(json.loads(json.dumps(mask.prompts.as_json()))) == mask.prompts
    assert mask.effort == Effort(first_seconds=1.0, boxes=1, undos=3, decode_ms=(40.0, 41.5))
    assert parse({"source": "brush"}).prompts == Prompts()
    assert parse({"source": "brush"}).effort is None
    assert parse({"source": "brush", "effort": {}}).effort == Effort()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"source": "magic"}, "source is 'magic': give one of clicks, box, brush, proposal, changed"),
        ({"source": ["box"]}, "source is"),
        ({"seconds": "3"}, "seconds is '3': give a number"),
        ({"seconds": True}, "seconds is True"),
        ({"active_seconds": 10**400}, "active_seconds is 1000"),
        ({"clicks": 2.0}, r"clicks is 2\.0"),
        ({"clicks": -1}, "clicks is -1: give a count, 0 or more"),
        ({"effort": [1]}, "effort is .*: give an object"),
        ({"effort": {"first_seconds": "1"}}, "first_seconds is '1': give a number"),
        ({"effort": {"first_seconds": -1}}, "first_seconds is -1: give 0 or more"),
        ({"effort": {"boxes": 1.0}}, r"boxes is 1\.0: give a count"),
        ({"effort": {"undos": True}}, "undos is True: give a count"),
        ({"effort": {"decode_ms": 4}}, "decode_ms is 4: give a list"),
        ({"effort": {"decode_ms": [4, None]}}, "decode_ms is None: give a number"),
        ({"effort": {"decode_ms": [1] * 1001}}, "give a list of at most 1,000 numbers"),
        ({"prompts": []}, "prompts is"),
        ({"prompts": {"points": {"x": 1}}}, "give lists"),
        ({"prompts": {"points": [[1, 2, 3]], "labels": [1]}}, "a point is .*: give 2 numbers"),
        ({"prompts": {"points": [[1, "2"]], "labels": [1]}}, "a point is '2'"),
        ({"prompts": {"labels": [True]}}, "labels are 1"),
        ({"prompts": {"box": [1, 2, 3]}}, "box is .*: give 4 numbers"),
    ],
)
def test_a_field_that_is_wrong_is_named(change, sentence):
    with pytest.raises(InvalidMaskError, match=sentence):
        parse(BODY | change)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from([*BODY, *BODY["effort"], "points", "box"]), inner)
    ),
)


@given(body=ANYTHING | st.fixed_dictionaries({key: ANYTHING | st.just(value) for key, value in BODY.items()}))
def test_nothing_else_is_raised_whatever_is_sent(body):
    with contextlib.suppress(InvalidMaskError):
        parse(body)
