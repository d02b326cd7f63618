"""From what JAX traces to an ONNX graph: the operations that the model is made of, one rule each.

What depends on no input is computed while translating, unless it is large and larger than what it is made of, such as
the position of every cell: the file would hold it, and its products with weights. Loops are written out, so a stack's
layers are slices of its weights.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr

from samjax.interop.formats.onnx.graph import Graph, element_type

Value = str | np.ndarray
"""Of the graph, by name, or known already."""

_LARGE = 2**16
"""Bytes of a constant that is stored only if it is no larger than what it is made of."""


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


def translate(jaxpr: Any, constants: Sequence[Any], inputs: Sequence[Value], graph: Graph) -> list[Value]:
    """Append a program to `graph` and return its results.

    Raises:
      NotImplementedError: it holds an operation that has no rule.
    """
    known: dict[Any, Value] = dict(zip(jaxpr.constvars, map(np.asarray, constants), strict=True))
    known.update(zip(jaxpr.invars, inputs, strict=True))

    def value(atom: Any) -> Value:
        return np.asarray(atom.val, atom.aval.dtype) if hasattr(atom, "val") else known[atom]

    for equation in jaxpr.eqns:
        values = [value(atom) for atom in equation.invars]
        known.update(zip(equation.outvars, _results(equation, values, graph), strict=True))
    return [value(atom) for atom in jaxpr.outvars]


def _results(equation: Any, values: list[Value], graph: Graph) -> list[Value]:
    name, parameters = equation.primitive.name, equation.params
    if name == "scan":
        return _written_out(equation, values, graph)
    if (inner := _called(parameters)) is not None:
        return translate(inner.jaxpr, inner.consts, values, graph)
    fixed = all(isinstance(dim, int) for variable in equation.outvars for dim in variable.aval.shape)
    if fixed and all(isinstance(value, np.ndarray) for value in values) and not _grows(equation, values):
        return _computed(equation, values)
    if name not in _RULES:
        raise NotImplementedError(f"the operation {name} has no rule for ONNX")
    operation = Operation(
        graph=graph,
        inputs=values,
        shapes=[tuple(atom.aval.shape) for atom in equation.invars],
        out=equation.outvars[0].aval,
        parameters=parameters,
    )
    result = _RULES[name](operation)
    return result if isinstance(result, list) else [result]


def _grows(equation: Any, values: list[Value]) -> bool:
    """Return whether the results of known values are large and larger than these, and a rule puts them in the graph."""
    made = sum(math.prod(out.aval.shape) * out.aval.dtype.itemsize for out in equation.outvars)
    of = sum(value.nbytes for value in values if isinstance(value, np.ndarray))
    return bool(values) and equation.primitive.name in _RULES and made > max(_LARGE, of)


def _called(parameters: dict[str, Any]) -> Any:
    """Return the program that an equation calls, closed, if it calls one."""
    for key in ("jaxpr", "call_jaxpr", "fun_jaxpr"):
        if key in parameters:
            inner = parameters[key]
            return inner if hasattr(inner, "consts") else ClosedJaxpr(inner, [])
    return None


def _computed(equation: Any, values: list[Value]) -> list[Value]:
    name, parameters, shape = equation.primitive.name, equation.params, equation.outvars[0].aval.shape
    if name in ("reshape", "squeeze"):  # of every weight; JAX would copy it, and compile a program for each shape
        return [values[0].reshape(shape)]  # type: ignore[union-attr]
    if name == "slice" and parameters["strides"] is None:
        return [values[0][tuple(map(slice, parameters["start_indices"], parameters["limit_indices"]))]]  # type: ignore[index]
    results = equation.primitive.bind(*(jax.numpy.asarray(value) for value in values), **equation.params)
    return [np.asarray(result) for result in (results if equation.primitive.multiple_results else [results])]


def _written_out(equation: Any, values: list[Value], graph: Graph) -> list[Value]:
    """Translate a scan's body once for each step."""
    parameters = equation.params
    fixed, carried = parameters["num_consts"], parameters["num_carry"]
    constants, carry, sequences = values[:fixed], values[fixed : fixed + carried], values[fixed + carried :]
    steps = range(parameters["length"])
    outputs: list[list[Value]] = []
    for step in reversed(steps) if parameters["reverse"] else steps:
        parts = [
            np.asarray(sequence[step])
            if isinstance(sequence, np.ndarray)
            else graph.add("Gather", sequence, np.array(step), axis=0)
            for sequence in sequences
        ]
        body = parameters["jaxpr"]
        carry_and_out = translate(body.jaxpr, body.consts, [*constants, *carry, *parts], graph)
        carry = carry_and_out[:carried]
        outputs.append(carry_and_out[carried:])
    if parameters["reverse"]:
        outputs.reverse()
    return [*carry, *(_stacked(list(parts), graph) for parts in zip(*outputs, strict=True))]


def _stacked(parts: list[Value], graph: Graph, axis: int = 0) -> Value:
    if all(isinstance(part, np.ndarray) for part in parts):
        return np.stack(parts, axis)  # type: ignore[arg-type]
    return graph.add("Concat", *(graph.add("Unsqueeze", part, np.array([axis])) for part in parts), axis=axis)


def _named(name: str, **attributes: Any) -> Callable[[Operation], Value]:
    return lambda op: op.add(name, *op.inputs, **attributes)


def _dot_general(op: Operation) -> Value:
    """A product over any axes, as one of matrices: [batch..., left, inner] x [batch..., inner, right]."""
    (left_inner, right_inner), (left_batch, right_batch) = op.parameters["dimension_numbers"]
    left_shape, right_shape = op.shapes
    left_free = [axis for axis in range(len(left_shape)) if axis not in (*left_inner, *left_batch)]
    right_free = [axis for axis in range(len(right_shape)) if axis not in (*right_inner, *right_batch)]

    def sizes(shape: tuple[Any, ...], axes: Sequence[int]) -> list[Any]:
        return [shape[axis] for axis in axes]

    inner = math.prod(sizes(left_shape, left_inner))
    batch = sizes(left_shape, left_batch)
    free = sizes(left_shape, left_free)
    left = op.transpose(op.inputs[0], [*left_batch, *left_free, *left_inner])
    if len(left_inner) != 1 or (left_batch and len(left_free) != 1):
        left = op.reshape(left, [*batch, *([math.prod(free)] if left_batch else free), inner])
    elif not left_free:
        left = op.reshape(left, [*batch, 1, inner])
    right = op.transpose(op.inputs[1], [*right_batch, *right_inner, *right_free])
    right = op.reshape(right, [*batch, inner, math.prod(sizes(right_shape, right_free))])
    return op.reshape(op.add("MatMul", left, right), op.out.shape)


def _convolution(op: Operation) -> Value:
    numbers, padding = op.parameters["dimension_numbers"], op.parameters["padding"]
    image = op.transpose(op.inputs[0], numbers.lhs_spec)
    kernel = op.transpose(op.inputs[1], numbers.rhs_spec)
    out = op.add(
        "Conv",
        image,
        kernel,
        strides=list(op.parameters["window_strides"]),
        pads=[side[0] for side in padding] + [side[1] for side in padding],
        group=op.parameters["feature_group_count"],
    )
    return op.transpose(out, [numbers.out_spec.index(axis) for axis in range(len(numbers.out_spec))])


def _broadcast(op: Operation) -> Value:
    places = op.parameters["broadcast_dimensions"]
    (shape,), wanted = op.shapes[:1], op.out.shape
    spread = [1] * len(wanted)
    for axis, place in enumerate(places):
        spread[place] = shape[axis]
    added = [axis for axis in range(len(wanted)) if axis not in places]
    value = op.inputs[0]
    if added:
        value = op.add("Unsqueeze", value, np.array(added))
    return value if spread == list(wanted) else op.add("Expand", value, op.graph.shape(wanted))


def _slice(op: Operation) -> Value:
    starts, limits, strides = (op.parameters[key] for key in ("start_indices", "limit_indices", "strides"))
    return op.add(
        "Slice",
        op.inputs[0],
        op.graph.shape(starts),
        op.graph.shape(limits),
        np.arange(len(starts)),
        np.array(strides or [1] * len(starts)),
    )


def _gather(op: Operation) -> Value:
    """Rows along an axis, or one slice at known places: what models ask of JAX's gather."""
    numbers, sizes = op.parameters["dimension_numbers"], op.parameters["slice_sizes"]
    operand, indices = op.inputs
    if isinstance(indices, np.ndarray) and indices.ndim == 1 and not numbers.operand_batching_dims:
        axes = list(numbers.start_index_map)
        ends = [int(start) + sizes[axis] for start, axis in zip(indices, axes, strict=True)]
        cut = op.add("Slice", operand, indices.astype(np.int64), op.graph.shape(ends), np.array(axes))
        dropped = numbers.collapsed_slice_dims
        return op.add("Squeeze", cut, np.array(dropped)) if dropped else cut
    rank, axes = len(op.shapes[1]) - 1, list(numbers.start_index_map)
    axis, shape = axes[0], list(op.shapes[0])
    whole = [size for place, size in enumerate(shape) if place not in axes]
    taken = [size for place, size in enumerate(sizes) if place not in axes]
    around = tuple(place for place in range(len(op.out.shape)) if not axis <= place < axis + rank)
    known = isinstance(indices, np.ndarray)
    if (
        list(numbers.collapsed_slice_dims) != axes
        or axes != list(range(axis, axis + len(axes)))
        or taken != whole
        or numbers.offset_dims != around
        or (len(axes) > 1 and not known)
    ):
        raise NotImplementedError(f"this gather has no rule for ONNX: {numbers}")
    if not known:
        return op.add("Gather", operand, op.add("Squeeze", indices, np.array([rank])), axis=axis)
    folded = [shape[place] for place in axes]  # several axes side by side are one
    flat = op.reshape(operand, [*shape[:axis], math.prod(folded), *shape[axis + len(axes) :]])
    rows = np.asarray(np.ravel_multi_index(tuple(np.moveaxis(indices, -1, 0).astype(int)), tuple(folded)))
    return op.add("Gather", flat, rows, axis=axis)


def _split(op: Operation) -> list[Value]:
    axis, ends = op.parameters["axis"], np.cumsum(op.parameters["sizes"])
    begins = [0, *ends[:-1]]
    return [
        op.add("Slice", op.inputs[0], np.array([begin]), np.array([end]), np.array([axis]))
        for begin, end in zip(begins, ends, strict=True)
    ]


def _scatter(op: Operation) -> Value:
    """One entry of a leading axis at a known place, as of a list; one beyond the end is dropped."""
    numbers, (operand, place, update) = op.parameters["dimension_numbers"], op.inputs
    count = op.out.shape[0]
    one = numbers.inserted_window_dims == numbers.scatter_dims_to_operand_dims == (0,)
    if not one or not isinstance(place, np.ndarray) or place.size != 1 or op.shapes[2] != op.out.shape[1:]:
        raise NotImplementedError(f"this scatter has no rule for ONNX: {numbers}")
    index = int(place.reshape(()))
    if not 0 <= index < count:
        return operand
    middle = op.add("Unsqueeze", update, np.array([0]))
    sides = [
        op.add("Slice", operand, np.array([begin]), np.array([end]), np.array([0])) if end > begin else None
        for begin, end in ((0, index), (index + 1, count))
    ]
    parts = [one for one in (sides[0], middle, sides[1]) if one is not None]
    return op.add("Concat", *parts, axis=0) if len(parts) > 1 else middle


def _pad(op: Operation) -> Value:
    edges = op.parameters["padding_config"]
    if any(inside for _, _, inside in edges) or any(side < 0 for low, high, _ in edges for side in (low, high)):
        raise NotImplementedError(f"this padding has no rule for ONNX: {edges}")
    sides = np.array([low for low, _, _ in edges] + [high for _, high, _ in edges], np.int64)
    return op.add("Pad", op.inputs[0], sides, op.inputs[1])


_RULES: dict[str, Callable[[Operation], Value | list[Value]]] = {
    "add": _named("Add"),
    "sub": _named("Sub"),
    "mul": _named("Mul"),
    "div": _named("Div"),
    "max": _named("Max"),
    "min": _named("Min"),
    "neg": _named("Neg"),
    "exp": _named("Exp"),
    "log": _named("Log"),
    "sqrt": _named("Sqrt"),
    "sin": _named("Sin"),
    "cos": _named("Cos"),
    "lt": _named("Less"),
    "eq": _named("Equal"),
    "and": _named("And"),
    "stop_gradient": lambda op: op.inputs[0],
    "copy": lambda op: op.inputs[0],
    "ne": lambda op: op.add("Not", op.add("Equal", *op.inputs)),
    "square": lambda op: op.add("Mul", op.inputs[0], op.inputs[0]),
    "rsqrt": lambda op: op.add("Reciprocal", op.add("Sqrt", *op.inputs)),
    "erfc": lambda op: op.add("Sub", np.ones((), op.out.dtype), op.add("Erf", *op.inputs)),
    "select_n": lambda op: op.add("Where", op.inputs[0], op.inputs[2], op.inputs[1]),
    "convert_element_type": lambda op: op.add("Cast", op.inputs[0], to=element_type(op.out.dtype)),
    "reduce_sum": lambda op: op.add("ReduceSum", op.inputs[0], np.array(op.parameters["axes"]), keepdims=0),
    "reduce_max": lambda op: op.add("ReduceMax", op.inputs[0], np.array(op.parameters["axes"]), keepdims=0),
    "transpose": lambda op: op.transpose(op.inputs[0], op.parameters["permutation"]),
    "reshape": lambda op: op.reshape(op.inputs[0], op.out.shape),
    "squeeze": lambda op: op.add("Squeeze", op.inputs[0], np.array(op.parameters["dimensions"])),
    "concatenate": lambda op: op.add("Concat", *op.inputs, axis=op.parameters["dimension"]),
    "stack": lambda op: _stacked(op.inputs, op.graph, op.parameters["axis"]),
    "broadcast_in_dim": _broadcast,
    "slice": _slice,
    "pad": _pad,
    "gather": _gather,
    "scatter": _scatter,
    "split": _split,
    "dot_general": _dot_general,
    "conv_general_dilated": _convolution,
}
