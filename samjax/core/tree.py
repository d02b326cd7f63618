"""Names for the leaves of a pytree, and patterns over them."""

import fnmatch
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import jax

T = TypeVar("T")

LayerIds = Sequence[tuple[str, Any]]
"""Pairs of a shell pattern over parameter paths, such as `image_encoder/patch_embed/*`, and a layer id; the first match
decides, and the last pattern is usually `*`. For stacked parameters the id is a nest of tuples, one number for each
place along their leading axes. Ids rise from 0, the slowest layer. No pairs: all layers learn at one rate."""


def path_name(path: Sequence[Any]) -> str:
    """Return a key path as `image_encoder/neck/conv1/kernel`."""
    return "/".join(str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", key)))) for key in path)


def named_leaves(tree: Any, *, is_leaf: Callable[[Any], bool] | None = None) -> dict[str, Any]:
    """Return the leaves of `tree` by path name, in tree order."""
    return {path_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree, is_leaf=is_leaf)}


def nest(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested dictionaries of leaves by path name: `{"a/b": x}` as `{"a": {"b": x}}`."""
    tree: dict[str, Any] = {}
    for name, leaf in leaves.items():
        *folders, last = name.split("/")
        place = tree
        for part in folders:
            place = place.setdefault(part, {})
        place[last] = leaf
    return tree


def map_with_names(function: Callable[..., Any], tree: Any, *rest: Any) -> Any:
    """Map `function(name, leaf, *other_leaves)` over `tree`."""
    return jax.tree_util.tree_map_with_path(lambda path, *leaves: function(path_name(path), *leaves), tree, *rest)


def first_match(name: str, patterns: Sequence[tuple[str, T]]) -> T:
    """Return the value of the first shell pattern that matches `name`.

    Raises:
      KeyError: no pattern matches; end the list with `"*"` for a default.
    """
    for pattern, value in patterns:
        if fnmatch.fnmatchcase(name, pattern):
            return value
    raise KeyError(f"no pattern matches {name!r}; tried {[pattern for pattern, _ in patterns]}")
