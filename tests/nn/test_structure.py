"""A module's structure without its arrays, and a module of given arrays."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from samjax.core.errors import UserError
from samjax.nn.init import Buffer
from samjax.nn.structure import abstract_model, array_shapes, check_arrays, model_with


class Scaled(nnx.Module):
    """A linear layer and a buffer."""

    def __init__(self, width: int, *, rngs: nnx.Rngs):
        self.linear = nnx.Linear(width, width, rngs=rngs)
        self.scale = Buffer(jnp.ones(width))

    def __call__(self, x):
        return self.linear(x) * self.scale[...]


@dataclasses.dataclass(frozen=True)
class Sizes:
    """The config of `Scaled`; `traced` holds every width that was made."""

    width: int = 3
    traced: ClassVar[list[int]] = []

    def make(self, *, rngs: nnx.Rngs) -> Scaled:
        self.traced.append(self.width)
        return Scaled(self.width, rngs=rngs)


def arrays(width: int = 3) -> dict:
    return {
        "params": {"linear": {"kernel": 2 * np.eye(width), "bias": np.ones(width)}},
        "buffers": {"scale": np.full(width, 5.0)},
    }


def test_nothing_is_allocated():
    graph, params, buffers = abstract_model(Sizes(width=2**20).make)
    assert {leaf.shape for leaf in jax.tree.leaves(params)} == {(2**20, 2**20), (2**20,)}
    assert [type(leaf) for leaf in jax.tree.leaves(buffers)] == [jax.ShapeDtypeStruct]
    assert isinstance(nnx.merge(graph, params, buffers), Scaled)


def test_shapes_are_those_of_parameters_and_buffers():
    assert array_shapes(Sizes().make) == {"linear/kernel": (3, 3), "linear/bias": (3,), "scale": (3,)}


@pytest.mark.parametrize("make", [Sizes().make, lambda rngs: Scaled(3, rngs=rngs)], ids=["method", "function"])
def test_a_model_has_the_arrays_it_is_given(make):
    np.testing.assert_array_equal(model_with(make, **arrays())(jnp.arange(3.0)), [5.0, 15.0, 25.0])


def test_equal_configs_are_traced_once():
    Sizes.traced.clear()
    for _ in range(3):
        array_shapes(Sizes(width=7).make)
        model_with(Sizes(width=7).make, **arrays(7))
    assert Sizes.traced == [7]
    array_shapes(Sizes(width=8).make)
    assert Sizes.traced == [7, 8]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda given: given["params"]["linear"].pop("bias"), "1 of 3 arrays differ, first linear/bias, missing"),
        (lambda given: given["buffers"].update(more=np.ones(2)), r"first more, \(2,\), expected none"),
        (lambda given: given.update(buffers={"scale": np.ones(4)}), r"first scale, \(4,\), expected \(3,\)"),
    ],
    ids=["missing", "unexpected", "shape"],
)
def test_other_arrays_are_refused_by_name(change, message):
    given = arrays()
    change(given)
    with pytest.raises(UserError, match=f"the file are not .*{message}"):
        check_arrays(Sizes().make, **given, what="the file")
    with pytest.raises(UserError, match=message):
        model_with(Sizes().make, **given)
