"""Options given twice add up or are refused, in every command: none is dropped without a word."""

import argparse

import pytest

from samjax.cli.arguments import Parser, refuse_repeats
from samjax.core.errors import UserError


@pytest.fixture
def parser():
    parser = Parser()
    command = parser.add_subparsers().add_parser("command")
    command.add_argument("--one")
    command.add_argument("--same", default="same")
    command.add_argument("--pair", nargs=2, type=int)
    command.add_argument("--more", nargs="+", action="extend")
    command.add_argument("--flag", action="store_true")
    command.add_argument("places", nargs="*")
    return parser


def test_what_adds_up_adds_up_and_flags_may_be_repeated(parser):
    known = parser.parse_args(["command", "a", "b", "--more", "1", "2", "--more", "3", "--flag", "--flag"])
    assert (known.places, known.more, known.flag) == (["a", "b"], ["1", "2", "3"], True)


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        (["--one", "1", "--one", "2"], "--one is given twice, as 1 and as 2: give it once"),
        (["--one=1", "--on", "1"], "--one is given twice, as 1 and as 1"),
        (["--same", "same", "--same", "same"], "--same is given twice"),
        (["--pair", "1", "2", "--pair", "3", "4"], "--pair is given twice, as 1 2 and as 3 4"),
    ],
)
def test_what_does_not_is_refused_with_both_values(parser, typed, sentence):
    with pytest.raises(UserError) as error:
        parser.parse_args(["command", *typed])
    assert sentence in str(error.value)


def test_a_value_may_begin_with_a_minus(parser):
    assert parser.parse_args(["command", "--one", "-0.5,2"]).one == "-0.5,2"


@pytest.mark.parametrize(
    "typed",
    [
        ["--steps", "3", "--data.source", "x", "--steps", "4"],
        ["--data.max-masks=3", "--data.max_masks", "4"],
        ["--data.shuffle", "--data.no-shuffle"],
    ],
)
def test_a_field_overridden_twice_is_refused(typed):
    with pytest.raises(UserError, match="is given twice"):
        refuse_repeats(typed)


def test_fields_of_one_name_in_different_places_are_two():
    refuse_repeats(["--data.source", "-1", "--validation.source", "-1", "--steps", "3"])


def test_every_command_is_read_by_such_a_parser(monkeypatch):
    """Options that take one value and do not say that they add up are stored once, whatever their command."""
    from samjax.cli import main

    seen = []

    def look(parser, *_):
        def walk(one):
            seen.append(one)
            for action in one._actions:
                if isinstance(action, argparse._SubParsersAction):
                    for inner in action.choices.values():
                        walk(inner)

        walk(parser)
        raise UserError("seen")

    monkeypatch.setattr(Parser, "parse_known_args", look)
    assert main.main([]) == 2
    assert len(seen) > 12
    assert all(isinstance(one, Parser) for one in seen)
    assert not [action for one in seen for action in one._actions if type(action) is argparse._StoreAction]
