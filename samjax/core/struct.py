"""Frozen dataclasses that JAX takes as pytrees."""

import dataclasses
from typing import TypeVar, dataclass_transform

import jax

T = TypeVar("T")


@dataclass_transform(frozen_default=True, kw_only_default=True)
def struct(cls: type[T]) -> type[T]:
    """Make `cls` a frozen keyword-only dataclass and a JAX pytree whose leaves are its fields.

    JAX rebuilds pytrees with leaves that are not arrays (shardings, shapes, sentinels), so unflattening bypasses
    `__init__`, where the tests' shape checks live.
    """
    cls = dataclasses.dataclass(frozen=True, kw_only=True)(cls)
    names = tuple(field.name for field in dataclasses.fields(cls))  # type: ignore[arg-type]

    def flatten_with_keys(node):
        return tuple((jax.tree_util.GetAttrKey(name), getattr(node, name)) for name in names), None

    def flatten(node):
        return tuple(getattr(node, name) for name in names), None

    def unflatten(_, children):
        node = object.__new__(cls)
        for name, child in zip(names, children, strict=True):
            object.__setattr__(node, name, child)
        return node

    jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, flatten)
    return cls
