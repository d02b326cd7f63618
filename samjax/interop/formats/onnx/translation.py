"""From what JAX traces to an ONNX graph: the operations that the model is made of, one rule each.

What depends on no input is computed while translating, unless it is large and larger than what it is made of, such as
the position of every cell: the file would hold it, and its products with weights. Loops are written out, so a stack's
layers are slices of its weights.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr

from samjax.interop.formats.onnx import indexing
from samjax.interop.formats.onnx.graph import Graph, element_type
from samjax.interop.formats.onnx.operation import Operation, Value

_LARGE = 2**16
"""Bytes of a constant that is stored only if it is no larger than what it is made of."""


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


def _largest(op: Operation) -> Value:
    """The largest in windows over the two middle axes of four, padding never."""
    window, strides, padding = (op.parameters[key] for key in ("window_dimensions", "window_strides", "padding"))
    dilations = {*op.parameters["base_dilation"], *op.parameters["window_dilation"]}
    outer = [(window[axis], strides[axis], tuple(padding[axis])) for axis in (0, -1)]
    if len(window) != 4 or dilations != {1} or outer != [(1, 1, (0, 0))] * 2:
        raise NotImplementedError(f"this window has no rule for ONNX: {window}, {strides}, {padding}")
    pads = [padding[axis][side] for side in (0, 1) for axis in (1, 2)]
    image = op.transpose(op.inputs[0], [0, 3, 1, 2])
    out = op.add("MaxPool", image, kernel_shape=list(window[1:3]), strides=list(strides[1:3]), pads=pads)
    return op.transpose(out, [0, 2, 3, 1])


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
    "reduce_window_max": _largest,
    "reduce_max": lambda op: op.add("ReduceMax", op.inputs[0], np.array(op.parameters["axes"]), keepdims=0),
    "transpose": lambda op: op.transpose(op.inputs[0], op.parameters["permutation"]),
    "reshape": lambda op: op.reshape(op.inputs[0], op.out.shape),
    "squeeze": lambda op: op.add("Squeeze", op.inputs[0], np.array(op.parameters["dimensions"])),
    "concatenate": lambda op: op.add("Concat", *op.inputs, axis=op.parameters["dimension"]),
    "stack": lambda op: _stacked(op.inputs, op.graph, op.parameters["axis"]),
    "broadcast_in_dim": _broadcast,
    "slice": indexing.cut,
    "pad": indexing.pad,
    "gather": indexing.gather,
    "scatter": indexing.scatter,
    "split": indexing.split,
    "dot_general": _dot_general,
    "conv_general_dilated": _convolution,
}
