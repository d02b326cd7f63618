"""Dotted names in nested configs."""

import dataclasses

import pytest

from samjax.core.errors import UserError
from samjax.core.overrides import replace_fields
from samjax.core.ranges import Count, Share, config_class


@config_class("inner")
class Inner:
    least: Share = 0.1
    most: Share = 0.2

    def __post_init__(self):
        if self.least >= self.most:
            raise UserError("least is not below most")


@config_class("")
class Outer:
    inner: Inner = dataclasses.field(default_factory=Inner)
    steps: Count = 3
    name: str = ""


def test_fields_at_any_depth_are_replaced_and_the_config_stays_as_it_was():
    before = Outer()
    after = replace_fields(before, {"inner.most": 0.9, "steps": 7, "name": "a.b"})
    assert after == Outer(inner=Inner(most=0.9), steps=7, name="a.b")
    assert before == Outer()


def test_values_of_one_config_are_replaced_together():
    """One at a time, the first would break the rule between the two."""
    assert replace_fields(Outer(), {"inner.least": 0.5, "inner.most": 0.6}).inner == Inner(least=0.5, most=0.6)


def test_a_whole_config_may_be_given():
    assert replace_fields(Outer(), {"inner": Inner(most=0.5)}).inner.most == 0.5


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"step": 1}, r"step is no field; did you mean steps\?"),
        ({"inner.mots": 0.3}, r"inner\.mots is no field; did you mean inner\.most\?"),
        ({"zzz": 1}, "zzz is no field; fields are inner, steps, name"),
        ({"steps.x": 1}, r"steps\.x is no field: steps has none"),
        ({"inner": Inner(), "inner.most": 0.3}, "inner is given whole and in part"),
        ({"steps": 0}, "steps is 0; it must be at least 1"),
        ({"inner.most": "a"}, r"inner\.most is 'a'"),
        ({"inner.most": 0.05}, "least is not below most"),
    ],
)
def test_what_does_not_fit_is_refused(values, sentence):
    with pytest.raises(UserError, match=sentence):
        replace_fields(Outer(), values)
