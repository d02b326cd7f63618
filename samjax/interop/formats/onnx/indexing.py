"""Rules of ONNX for what takes parts of arrays, and puts them into others."""

import math

import numpy as np

from samjax.interop.formats.onnx.operation import Operation, Value


def cut(op: Operation) -> Value:
    """A box out of an array: JAX's slice."""
    starts, limits, strides = (op.parameters[key] for key in ("start_indices", "limit_indices", "strides"))
    return op.add(
        "Slice",
        op.inputs[0],
        op.graph.shape(starts),
        op.graph.shape(limits),
        np.arange(len(starts)),
        np.array(strides or [1] * len(starts)),
    )


def gather(op: Operation) -> Value:
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


def split(op: Operation) -> list[Value]:
    """An array in parts along an axis."""
    axis, ends = op.parameters["axis"], np.cumsum(op.parameters["sizes"])
    begins = [0, *ends[:-1]]
    return [
        op.add("Slice", op.inputs[0], np.array([begin]), np.array([end]), np.array([axis]))
        for begin, end in zip(begins, ends, strict=True)
    ]


def scatter(op: Operation) -> Value:
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


def pad(op: Operation) -> Value:
    """A constant around an array."""
    edges = op.parameters["padding_config"]
    if any(inside for _, _, inside in edges) or any(side < 0 for low, high, _ in edges for side in (low, high)):
        raise NotImplementedError(f"this padding has no rule for ONNX: {edges}")
    sides = np.array([low for low, _, _ in edges] + [high for _, high, _ in edges], np.int64)
    return op.add("Pad", op.inputs[0], sides, op.inputs[1])
