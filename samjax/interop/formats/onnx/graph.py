"""An ONNX graph under construction, and its weights: in a file beside it, as a graph's own file ends at 2 GB."""

import ast
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from samjax.core.optional import optional

OPSET = 18
_SMALL = 1024  # bytes; smaller constants lie in the graph, which reads their shapes and axes from them

Dim = Any  # a number, or an expression in the symbols of the graph's inputs


class Graph:
    """Nodes and constants; values are known by name."""

    def __init__(self, inputs: Mapping[str, Any]):
        """Begin with `inputs`, shapes and types by name; an axis may be a symbol, such as b."""
        self._onnx = optional("onnx", extra="onnx")
        self._nodes: list[Any] = []
        self._constants: dict[Any, tuple[str, np.ndarray]] = {}
        self._shapes: dict[tuple[str, ...], str] = {}
        self._inputs = [self._described(name, value) for name, value in inputs.items()]
        self._symbols: dict[str, str] = {}
        for name, value in inputs.items():
            for axis, dim in enumerate(value.shape):
                if not isinstance(dim, int) and str(dim) not in self._symbols:
                    self._symbols[str(dim)] = self.add("Shape", name, start=axis, end=axis + 1)

    def add(self, operation: str, *inputs: str | np.ndarray, **attributes: Any) -> str:
        """Append a node and return its result's name; arrays among `inputs` become constants."""
        name = f"v{len(self._nodes)}"
        names = [value if isinstance(value, str) else self.constant(value) for value in inputs]
        self._nodes.append(self._onnx.helper.make_node(operation, names, [name], **attributes))
        return name

    def constant(self, array: np.ndarray) -> str:
        """Return the name of a constant, the same for equal small ones and for a large one in the same memory."""
        bytes_or_place = array.tobytes() if array.nbytes < _SMALL else (array.ctypes.data, array.strides)
        key = (array.dtype, array.shape, bytes_or_place)
        if key not in self._constants:  # where it is kept, so that no other array takes its place
            self._constants[key] = (f"c{len(self._constants)}", array)
        return self._constants[key][0]

    def shape(self, dims: Sequence[Dim]) -> str:
        """Return the name of `dims` as a vector of int64, computed from the inputs' where they are symbols."""
        key = tuple(str(dim) for dim in dims)
        if all(isinstance(dim, int) for dim in dims) or not dims:
            return self.constant(np.array(dims, np.int64))
        if key not in self._shapes:
            parts = [self._computed(ast.parse(text, mode="eval").body) for text in key]
            self._shapes[key] = self.add("Concat", *parts, axis=0)
        return self._shapes[key]

    def _computed(self, expression: ast.expr) -> str | np.ndarray:
        match expression:
            case ast.Constant(value=int(number)):
                return np.array([number], np.int64)
            case ast.Name(id=symbol):
                return self._symbols[symbol]
            case ast.BinOp(left=left, op=ast.Add() | ast.Sub() | ast.Mult() as operator, right=right):
                operation = {ast.Add: "Add", ast.Sub: "Sub", ast.Mult: "Mul"}[type(operator)]
                return self.add(operation, self._computed(left), self._computed(right))
        raise NotImplementedError(f"a shape with {ast.unparse(expression)} has no form in ONNX here")

    def save(
        self, path: Path, *, outputs: Mapping[str, tuple[str | np.ndarray, Any]], what: str, single_file: bool = False
    ) -> None:
        """Write the graph to `path` and its weights to `path`.data.

        Args:
          path: where.
          outputs: the value of each output, and its shape and type.
          what: the graph's name.
          single_file: weights are in `path` too.
        """
        helper = self._onnx.helper
        for name, (value, _) in outputs.items():
            self._nodes.append(helper.make_node("Identity", [value if isinstance(value, str) else ""], [name]))
        if single_file:
            tensors = [self._onnx.numpy_helper.from_array(array, name) for name, array in self._constants.values()]
        else:
            with path.with_name(f"{path.name}.data").open("wb") as data:
                tensors = [self._stored(name, array, data) for name, array in self._constants.values()]
        graph = helper.make_graph(
            self._nodes,
            what,
            self._inputs,
            [self._described(name, like) for name, (_, like) in outputs.items()],
            initializer=tensors,
        )
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9, producer_name="samjax"
        )
        self._onnx.save(model, str(path))
        self._onnx.checker.check_model(str(path))

    def _described(self, name: str, like: Any) -> Any:
        dims = [dim if isinstance(dim, int) else str(dim) for dim in like.shape]
        return self._onnx.helper.make_tensor_value_info(name, element_type(like.dtype), dims)

    def _stored(self, name: str, array: np.ndarray, data: Any) -> Any:
        """Return a constant as ONNX has it, its bytes appended to the file `data` unless they are few."""
        if array.nbytes < _SMALL:
            return self._onnx.numpy_helper.from_array(array, name)
        tensor = self._onnx.TensorProto(name=name, data_type=element_type(array.dtype), dims=array.shape)
        tensor.data_location = self._onnx.TensorProto.EXTERNAL
        data.write(b"\0" * (-data.tell() % 4096))  # readers map pages into memory
        place = {"location": Path(data.name).name, "offset": data.tell(), "length": array.nbytes}
        for key, value in place.items():
            tensor.external_data.add(key=key, value=str(value))
        np.ascontiguousarray(array).tofile(data)
        return tensor


def element_type(dtype: Any) -> int:
    """Return ONNX's number of a NumPy type."""
    return optional("onnx", extra="onnx").helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
