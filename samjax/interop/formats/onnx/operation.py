"""One operation of a traced program, as the rules of the translation to ONNX take it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from samjax.interop.formats.onnx.graph import Graph

Value = str | np.ndarray
"""Of the graph, by name, or known already."""


@dataclass(frozen=True, kw_only=True)
class Operation:
    """An equation of a traced program, with its operands' values."""

    graph: Graph
    inputs: list[Value]
    shapes: list[tuple[Any, ...]]
    """Of the inputs."""
    out: Any
    """Shape and type of the (first) result."""
    parameters: dict[str, Any]

    def add(self, name: str, *inputs: Value, **attributes: Any) -> str:
        """Append a node to the graph."""
        return self.graph.add(name, *inputs, **attributes)

    def reshape(self, value: Value, shape: Sequence[Any]) -> Value:
        """Return `value` in another shape."""
        unknown = [axis for axis, dim in enumerate(shape) if not isinstance(dim, int)]
        if isinstance(value, np.ndarray):
            return value.reshape(tuple(shape))
        if len(unknown) == 1:  # the rest says it
            return self.add(
                "Reshape", value, np.array([-1 if axis in unknown else dim for axis, dim in enumerate(shape)], np.int64)
            )
        return self.add("Reshape", value, self.graph.shape(shape))

    def transpose(self, value: Value, axes: Sequence[int]) -> Value:
        """Return `value` with its axes in this order."""
        if list(axes) == list(range(len(axes))):
            return value
        if isinstance(value, np.ndarray):
            return np.ascontiguousarray(value.transpose(axes))
        return self.add("Transpose", value, perm=list(axes))
