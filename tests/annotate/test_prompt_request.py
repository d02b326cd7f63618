"""A request is what the page sent, or one sentence."""

import contextlib
import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from samjax.annotate.prompt_request import MOST_POINTS, PromptRequest, parse_request
from samjax.core.errors import UserError

BODY = {
    "points": [[3, 4.5], [7, 8]],
    "labels": [1, 0],
    "box": [0, 0, 9, 9],
    "previous": "x.1.0",
    "generation": 7,
    "hover": True,
}


def test_a_request_is_read():
    assert parse_request(BODY, annotator="ann") == PromptRequest(
        annotator="ann",
        points=((3.0, 4.5), (7.0, 8.0)),
        labels=(1, 0),
        box=(0.0, 0.0, 9.0, 9.0),
        previous="x.1.0",
        generation=7,
        is_hover=True,
    )
    least = parse_request({"points": [[3, 4]], "labels": [1]}, annotator="ann")
    assert least == PromptRequest(annotator="ann", points=((3.0, 4.0),), labels=(1,))
    nulls = {"points": None, "labels": None, "box": [0, 0, 9, 9], "previous": None}
    assert parse_request(nulls, annotator="ann").box == (0.0, 0.0, 9.0, 9.0)


@pytest.mark.parametrize(
    ("changes", "is_ambiguous"),
    [
        ({"points": ((1.0, 1.0),), "labels": (1,)}, True),
        ({"points": ((1.0, 1.0),), "labels": (0,)}, True),
        ({"box": (0.0, 0.0, 5.0, 5.0)}, True),
        ({"points": ((1.0, 1.0), (2.0, 2.0)), "labels": (1, 1)}, False),
        ({"points": ((1.0, 1.0),), "labels": (1,), "box": (0.0, 0.0, 5.0, 5.0)}, False),
        ({"points": ((1.0, 1.0),), "labels": (1,), "previous": "x.1.0"}, False),
        ({"previous": "x.1.0"}, False),
    ],
)
def test_a_single_point_or_box_is_ambiguous_as_in_training(changes, is_ambiguous):
    assert dataclasses.replace(PromptRequest(annotator="ann"), **changes).is_ambiguous is is_ambiguous


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"points": [[3, 4]]}, "points has 1 entries, but labels has 2"),
        ({"points": [[3, 4], [5]]}, r"points\[1\] must be 2 finite numbers, but is \[5\]"),
        ({"points": [[3, 4], [5, float("nan")]]}, r"points\[1\] must be 2 finite numbers"),
        ({"points": [[3, 4], [5, True]]}, r"points\[1\] must be 2 finite numbers"),
        ({"points": [[3, 4], "ab"]}, r"points\[1\] must be a list, but is 'ab'"),
        ({"points": {"0": 1}}, "points must be a list"),
        ({"labels": [1, 2]}, "labels must be 1 on the object or 0 beside it, but one is 2"),
        ({"labels": [1, True]}, "but one is True"),
        ({"labels": [1, [0]]}, "labels must be 1"),
        ({"box": [1, 2, 3]}, r"box must be 4 finite numbers, but is \[1, 2, 3\]"),
        ({"box": "1234"}, "box must be a list"),
        ({"previous": 3}, "previous must be a handle or null, but is 3"),
        ({"generation": 1.5}, "generation must be an integer, but is 1.5"),
        ({"generation": None}, "generation must be an integer"),
        ({"hover": 1}, "hover must be true or false, but is 1"),
        ({"colour": 1}, "the request has a key 'colour', expected only box, generation, hover"),
        ({"points": [[1, 1]] * 127, "labels": [1] * 127}, f"127 points, at most {MOST_POINTS} are allowed"),
        ({"points": [], "labels": [], "box": None, "previous": None}, "there is no prompt"),
    ],
)
def test_what_is_wrong_with_a_request_is_one_sentence(changes, sentence):
    with pytest.raises(UserError, match=sentence):
        parse_request({**BODY, **changes}, annotator="ann")


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)


@given(body=anything | st.fixed_dictionaries({}, optional=dict.fromkeys(BODY, anything)))
def test_any_json_is_a_request_or_refused(body):
    with contextlib.suppress(UserError):
        request = parse_request(body, annotator="ann")
        assert len(request.points) == len(request.labels) <= MOST_POINTS
        assert request.points or request.box or request.previous is not None
