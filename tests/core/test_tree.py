"""Names and patterns over trees."""

import pytest

from samjax.core.tree import first_match, map_with_names, named_leaves, nest


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
