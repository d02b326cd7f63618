"""Which parameters a run trains: the others have no gradient, no moments and no update."""

from collections.abc import Iterable, Sequence

from samjax.core.tree import find_names


def trainable_names(patterns: Sequence[str], names: Iterable[str]) -> frozenset[str]:
    """Return those of the parameters `names` that one of the user's patterns matches; see `core.tree.matches`.

    Raises:
      UserError: a pattern matches none of them.
    """
    names = list(names)
    return frozenset(name for pattern in patterns for name in find_names(pattern, names, option="trainable"))
