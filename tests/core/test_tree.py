"""Names and patterns over trees."""

import pytest

from samjax.core.errors import UserError
from samjax.core.tree import find_names, first_match, map_with_names, named_leaves, nest, overlay, select


def test_names_are_slash_paths_in_tree_order():
    tree = {"b": {"kernel": 1, "bias": 2}, "a": [3, 4]}
    assert named_leaves(tree) == {"a/0": 3, "a/1": 4, "b/bias": 2, "b/kernel": 1}


def test_nested_undoes_names():
    tree = {"b": {"kernel": 1, "bias": {"x": 2}}, "a": 3}
    assert nest(named_leaves(tree)) == tree
    assert nest({}) == {}


def test_map_named_gives_each_leaf_its_name_and_partners():
    tree, other = {"a": {"x": 1}}, {"a": {"x": 10}}
    assert map_with_names(lambda name, leaf, partner: (name, leaf + partner), tree, other) == {"a": {"x": ("a/x", 11)}}


def test_the_first_pattern_wins_and_none_is_an_error():
    patterns = [("*/bias", "bias"), ("encoder/*", "encoder")]
    assert first_match("encoder/bias", patterns) == "bias"
    assert first_match("encoder/kernel", patterns) == "encoder"
    with pytest.raises(KeyError, match="decoder/kernel"):
        first_match("decoder/kernel", patterns)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("**", ["bias", "encoder/bias", "encoder/neck/bias", "encoder/neck/kernel"]),
        ("encoder/**", ["encoder/bias", "encoder/neck/bias", "encoder/neck/kernel"]),
        ("encoder/*", ["encoder/bias", "encoder/neck/bias", "encoder/neck/kernel"]),
        ("**/bias", ["bias", "encoder/bias", "encoder/neck/bias"]),
        ("encoder/**/bias", ["encoder/bias", "encoder/neck/bias"]),
        ("*/bias", ["encoder/bias", "encoder/neck/bias"]),
    ],
)
def test_stars_match_across_folders_and_two_also_none(pattern, expected):
    names = ["bias", "encoder/bias", "encoder/neck/bias", "encoder/neck/kernel"]
    assert find_names(pattern, names, option="x") == expected


def test_a_pattern_without_a_match_says_what_there_is():
    with pytest.raises(UserError, match=r"x: 'neck' matches no parameter; there are a/\*\*, neck/\*\*, such as neck/b"):
        find_names("neck", ["neck/b", "a/c"], option="x")
    with pytest.raises(UserError, match=r"for a whole folder give 'neck/\*\*'"):
        find_names("neck/", ["neck/b", "a/c"], option="x")


def test_a_part_laid_over_its_tree_is_the_tree():
    tree = {"a": {"x": 1, "y": 2}, "b": 3, "c": {"d": {"z": 4}}}
    part = select(tree, ["a/x", "b"])
    assert part == {"a": {"x": 1}, "b": 3}
    assert overlay(tree, part) == tree
    assert overlay(tree, {"a": {"x": 7, "w": 8}}) == {"a": {"x": 7, "y": 2, "w": 8}, "b": 3, "c": {"d": {"z": 4}}}
