"""Names for the leaves of a pytree, and patterns over them."""

import fnmatch
import functools
import re
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import jax

from samjax.core.errors import UserError

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


def select(tree: Mapping[Any, Any], names: Iterable[str]) -> dict[Any, Any]:
    """Return the part of nested dictionaries that has the leaves `names`, without empty dictionaries."""
    wanted = frozenset(names)

    def part(node: Mapping[Any, Any], prefix: str) -> dict[Any, Any]:
        found = {}
        for key, value in node.items():
            name = f"{prefix}{key}"
            if isinstance(value, Mapping):
                if inside := part(value, f"{name}/"):
                    found[key] = inside
            elif name in wanted:
                found[key] = value
        return found

    return part(tree, "")


def overlay(tree: Mapping[Any, Any], top: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return nested dictionaries with the leaves of `top` added to those of `tree`, or in their place."""
    merged = dict(tree)
    for key, value in top.items():
        below = merged.get(key)
        merged[key] = overlay(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return merged


def matches(name: str, pattern: str) -> bool:
    """Return whether a shell pattern matches a path name.

    `*` and `**` match any characters, slashes too, and `**/` also no folder at all: `image_encoder/**/kernel` matches
    `image_encoder/kernel` and `image_encoder/neck/conv1/kernel`.
    """
    return _compiled(pattern).match(name) is not None


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str]:
    any_folders = "\0"  # no pattern has it, and `translate` keeps it
    return re.compile(fnmatch.translate(pattern.replace("**/", any_folders)).replace(any_folders, "(?:.*/)?"))


def find_names(pattern: str, names: Iterable[str], *, option: str) -> list[str]:
    """Return the `names` that a pattern of the user's matches; `option` is where it stands.

    Raises:
      UserError: there are none.
    """
    names = list(names)
    found = [name for name in names if matches(name, pattern)]
    if not found:
        folders = sorted({f"{name.split('/')[0]}/**" if "/" in name else name for name in names})
        said = (
            f"{', '.join(folders[:8])}{' and others' if folders[8:] else ''}, such as {names[0]}" if names else "none"
        )
        if any(name.startswith(f"{pattern.rstrip('/')}/") for name in names):
            said += f"; for a whole folder give '{pattern.rstrip('/')}/**'"
        raise UserError(f"{option}: {pattern!r} matches no parameter; there are {said}")
    return found


def find_among(
    patterns: Iterable[str], names: Iterable[str], among: Container[str], *, what: str, option: str
) -> list[str]:
    """Return those of `among` that one of the user's patterns over `names` matches, each once; `what` is one of them.

    Raises:
      UserError: a pattern matches none of them.
    """
    names, chosen = list(names), {}
    for pattern in patterns:
        matching = find_names(pattern, names, option=option)
        found = [name for name in matching if name in among]
        if not found:
            raise UserError(f"{option}: {pattern!r} matches no {what}, only such as {matching[0]}")
        chosen |= dict.fromkeys(found)
    return list(chosen)


def first_match(name: str, patterns: Sequence[tuple[str, T]]) -> T:
    """Return the value of the first shell pattern that matches `name`.

    Raises:
      KeyError: no pattern matches; end the list with `"*"` for a default.
    """
    for pattern, value in patterns:
        if matches(name, pattern):
            return value
    raise KeyError(f"no pattern matches {name!r}; tried {[pattern for pattern, _ in patterns]}")
