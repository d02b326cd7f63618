"""For any module: its structure and arrays as shapes, and the module built from given arrays.

`make` is whatever makes the module when called with `rngs=`: a config's method `config.make`, a class, a function.
"""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from flax import nnx

from samjax.core.errors import UserError
from samjax.core.tree import named_leaves
from samjax.nn.init import Buffer
from samjax.nn.rngs import initial_rngs

M = TypeVar("M", bound=nnx.Module)


def abstract_model(make: Callable[..., M]) -> tuple[nnx.GraphDef[M], nnx.State, nnx.State]:
    """Return the structure of the module, its parameters and its buffers as shapes; nothing is allocated.

    ```python
    graph, params, buffers = abstract_model(SamConfig.vit_h().make)
    ```
    """
    graph, params, buffers = nnx.split(nnx.eval_shape(lambda: make(rngs=initial_rngs(0))), nnx.Param, Buffer)
    return graph, params, buffers


def model_with(make: Callable[..., M], *, params: Any, buffers: Any, what: str = "the weights") -> M:
    """Return the module built from these arrays, pure nested dictionaries; `what` is their name in errors.

    Raises:
      UserError: an array is missing, unexpected or of another shape.
    """
    check_arrays(make, params=params, buffers=buffers, what=what)
    return nnx.merge(_structure(make)[0], *jax.tree.map(jnp.asarray, (params, buffers)))


def check_arrays(make: Callable[..., nnx.Module], *, params: Any, buffers: Any, what: str) -> None:
    """Refuse arrays, called `what`, that do not fit the module.

    Raises:
      UserError: one is missing, unexpected or of another shape.
    """
    expected = _structure(make)[1]
    given = {name: leaf.shape for part in (params, buffers) for name, leaf in named_leaves(part).items()}
    wrong = [name for name in sorted({*expected, *given}) if expected.get(name) != given.get(name)]
    if wrong:
        name = wrong[0]
        raise UserError(
            f"{what} are not of the model that their config describes: {len(wrong)} of {len(expected)} arrays differ, "
            f"first {name}, {given.get(name, 'missing')}, expected {expected.get(name, 'none')}"
        )


def array_shapes(make: Callable[..., nnx.Module]) -> dict[str, tuple[int, ...]]:
    """Return the shape of every parameter and buffer of the module, by path."""
    return dict(_structure(make)[1])


def _structure(make: Callable[..., M]) -> tuple[nnx.GraphDef[M], dict[str, tuple[int, ...]]]:
    """Return the module's structure and its arrays' shapes. Methods of equal configs are traced once."""
    function = getattr(make, "__func__", None)
    return _traced(make, None) if function is None else _traced(function, make.__self__)  # type: ignore[attr-defined]


@functools.cache
def _traced(make: Callable[..., M], config: Any) -> tuple[nnx.GraphDef[M], dict[str, tuple[int, ...]]]:
    """Trace `make`, a method of `config` if there is one: it takes a second."""
    graph, *parts = abstract_model(make if config is None else functools.partial(make, config))
    leaves = {name: leaf for part in parts for name, leaf in named_leaves(nnx.to_pure_dict(part)).items()}
    return graph, {name: leaf.shape for name, leaf in leaves.items()}
