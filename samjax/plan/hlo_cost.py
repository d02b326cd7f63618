"""Work and memory traffic of a compiled program, with loops multiplied by their trips.

XLA's own `cost_analysis` counts the body of a loop once, and most of a training step is in loops over depth and rounds.
"""

import functools
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from samjax.plan.hlo import ArrayShape, Computation, Instruction, Program
from samjax.plan.instructions import FREE, Kind, count_instructions, kind

_PASSES = {"high": 3, "highest": 6}


@dataclass(frozen=True, kw_only=True)
class Work:
    """What one chip does in a step."""

    flops: int
    """Of matrix products and convolutions; a multiply-add counts as two, and recomputation counts again. A float32
    product at high or highest precision counts as the 3 or 6 bfloat16 products that a TPU makes of it."""
    bytes: int
    """Read from and written to the chip's main memory by instructions, fusions as a whole. Slices and updates count
    for what they touch. What stays in on-chip memory is not in it."""
    instructions: int
    """That run one after another; see `samjax.plan.instructions` for what counts."""
    scalar_instructions: int
    """Those of them that make only scalars, such as loop counters."""
    asynchronous: int
    """Instructions that run beside the others: copies to and from on-chip memory, exchanges."""
    unseen_kernels: int
    """Calls of hand-written kernels that do not report their FLOPs; their operands count as bytes."""
    unknown_loops: int
    """Loops with an unknown number of trips; counted once."""


@dataclass(frozen=True, kw_only=True)
class Buffer:
    """An array in the chip's main memory, made by an operation of the traced program."""

    bytes: int
    shape: str
    operation: str


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """What one operation of the traced program moves to and from a chip's main memory, summed over a step."""

    bytes: int
    count: int
    operation: str


def work(program: Program) -> Work:
    """Count a program. Of a conditional, each figure counts the branch that has most of it."""

    def flops(name: str) -> int:
        return sum(_all_flops(program, program.computations[name], one) for one in _instructions(program, name))

    def unseen(name: str) -> int:
        return sum(_is_kernel(one) and _kernel_flops(one) == 0 for one in _instructions(program, name))

    def total(cost: Callable[[str], int]) -> int:
        return sum(times * cost(name) for name, times in program.executions(cost)[0].items())

    counts = count_instructions(program)
    return Work(
        flops=total(functools.cache(flops)),
        bytes=total(_traffic(program)),
        instructions=counts.sequential,
        scalar_instructions=counts.scalar,
        asynchronous=counts.asynchronous,
        unseen_kernels=total(unseen),
        unknown_loops=len(program.executions()[1]),
    )


def largest_traffic(program: Program, count: int) -> list[Traffic]:
    """Return the operations that move most of `Work.bytes`."""
    found: dict[str, list[int]] = {}
    for name, times in program.executions(_traffic(program))[0].items():
        computation = program.computations[name]
        for one in computation.instructions.values():
            size = _bytes(program, computation, one)
            if size:
                total = found.setdefault(program.operation(one), [0, 0])
                total[0] += times
                total[1] += times * size
    ordered = sorted(found.items(), key=lambda item: -item[1][1])[:count]
    return [Traffic(bytes=size, count=times, operation=operation) for operation, (times, size) in ordered]


def _instructions(program: Program, name: str) -> Iterable[Instruction]:
    return program.computations[name].instructions.values()


def _traffic(program: Program) -> Callable[[str], int]:
    """Return what tells the bytes that one run of a computation moves."""

    @functools.cache
    def traffic(name: str) -> int:
        return sum(_bytes(program, program.computations[name], one) for one in _instructions(program, name))

    return traffic


def largest_buffers(program: Program, count: int) -> list[Buffer]:
    """Return the largest arrays that instructions make in main memory, equal ones of one operation once.

    Not all of them need to exist together.
    """
    found: dict[tuple[str, str], Buffer] = {}
    for name in program.executions()[0]:
        for one in _instructions(program, name):
            if one.opcode in FREE or one.opcode.startswith("async-") or one.opcode.endswith("-done"):
                continue
            for shape in one.shapes:
                if shape.space == 0:
                    text = f"{shape.dtype}[{','.join(map(str, shape.dims))}]"
                    made = Buffer(bytes=shape.padded_bytes, shape=text, operation=program.operation(one))
                    found.setdefault((text, made.operation), made)
    return sorted(found.values(), key=lambda buffer: -buffer.bytes)[:count]


def _is_kernel(one: Instruction) -> bool:
    return one.opcode == "custom-call" and 'custom_call_target="tpu_custom_call"' in one.attributes


def _kernel_flops(one: Instruction) -> int:
    """Return the `cost_estimate` of a Pallas kernel."""
    said = re.search(r'"cost_estimate": ?\{"flops": ?"?(\d+)', one.attributes)
    return int(said.group(1)) if said else 0


def _all_flops(program: Program, computation: Computation, one: Instruction) -> int:
    """Return the FLOPs of an instruction, of a fusion those of what is in it."""
    if one.opcode != "fusion":
        return _flops(computation, one)
    inside = program.computations[one.callee("calls") or ""]
    return sum(_all_flops(program, inside, inner) for inner in inside.instructions.values())


def _flops(computation: Computation, one: Instruction) -> int:
    return _passes(computation, one) * _one_pass(computation, one)


def _passes(computation: Computation, one: Instruction) -> int:
    """Return how many bfloat16 products a TPU makes of this one; its arrays alone have tiles."""
    precise = re.search(r"\boperand_precision=\{(\w+)", one.attributes)
    if precise is None or not one.shapes[0].tile:
        return 1
    types = {computation.instructions[name].shapes[0].dtype for name in one.operands}
    return _PASSES.get(precise.group(1), 1) if "f32" in types else 1


def _one_pass(computation: Computation, one: Instruction) -> int:
    if one.opcode == "dot":
        left = computation.instructions[one.operands[0]].shapes[0]
        contracted = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", one.attributes)
        dims = [int(dim) for dim in contracted.group(1).split(",") if dim] if contracted else []
        return 2 * one.shapes[0].elements * math.prod(left.dims[dim] for dim in dims)
    if one.opcode == "convolution":
        left, right = (computation.instructions[name].shapes[0] for name in one.operands[:2])
        return convolution_flops(left, right, one.shapes[0], one.attributes)
    return _kernel_flops(one) if _is_kernel(one) else 0


def convolution_flops(left: ArrayShape, right: ArrayShape, out: ArrayShape, attributes: str) -> int:
    """Return what a convolution costs, taps outside the map left out.

    TPUs write every matrix product as one: its batch dimensions are then spatial, dilated so that each place of the
    output meets a single place of the kernel, and counting all taps would be wrong by their number.
    """
    labels = re.search(r"dim_labels=(\w+)_(\w+)->(\w+)", attributes)
    if labels is None:
        raise ValueError(f"a convolution without dim_labels: {attributes[:120]!r}")
    lhs, rhs, result = labels.groups()
    window = dict(re.findall(r"(\w+)=([^\s}]+)", _braces(attributes, "window")))
    taps = 1
    for number, label in enumerate(sorted(set(result) - set("bf"))):
        low = _of(window.get("pad"), number, "0_0").split("_")[0]
        taps *= _taps(
            size=left.dims[lhs.index(label)],
            kernel=right.dims[rhs.index(label)],
            out=out.dims[result.index(label)],
            stride=int(_of(window.get("stride"), number, "1")),
            low=int(low),
            dilation=int(_of(window.get("lhs_dilate"), number, "1")),
            kernel_dilation=int(_of(window.get("rhs_dilate"), number, "1")),
        )
    inputs = right.dims[rhs.index("i")]
    outs = out.dims[result.index("b")] * out.dims[result.index("f")]
    return 2 * taps * inputs * outs


@functools.lru_cache(maxsize=4096)
def _taps(*, size: int, kernel: int, out: int, stride: int, low: int, dilation: int, kernel_dilation: int) -> int:
    """Return how many pairs of an output place and a kernel place along one side meet an input."""
    places = np.arange(out)[:, None] * stride - low + np.arange(kernel)[None, :] * kernel_dilation
    return int(np.count_nonzero((places >= 0) & (places < (size - 1) * dilation + 1) & (places % dilation == 0)))


def _braces(attributes: str, name: str) -> str:
    found = re.search(rf"\b{name}=\{{([^}}]*)\}}", attributes)
    return found.group(1) if found else ""


def _of(values: str | None, number: int, default: str) -> str:
    return values.split("x")[number] if values else default


def _bytes(program: Program, computation: Computation, one: Instruction) -> int:
    if kind(one) is Kind.FREE or one.opcode == "async-start":
        return 0
    if one.opcode in ("slice-start", "dynamic-slice-start"):
        result = one.shapes[len(one.operands)]
        return result.padded_bytes + _in_main_memory(result)
    if one.opcode.endswith("-start") and one.opcode != "all-reduce-start":
        # What goes in, what comes out, and a handle.
        return sum(_in_main_memory(shape) for shape in one.shapes[: 2 * len(one.operands)])
    if one.opcode in ("dynamic-slice", "slice", "gather"):
        return 2 * _in_main_memory(one.shapes[0])
    if one.opcode == "dynamic-update-slice":
        return 2 * _in_main_memory(computation.instructions[one.operands[1]].shapes[0])
    target = one.callee("calls") if one.opcode == "fusion" else None
    total = 0
    for number, operand in enumerate(one.operands):
        shapes = computation.instructions[operand].shapes
        if len(shapes) == 1 and shapes[0].space == 0:
            total += shapes[0].padded_bytes if target is None else _read(program, target, number)
    if target is None:
        return total + sum(_in_main_memory(shape) for shape in one.shapes)
    written = _written(program, target)
    if len(written) != len(one.shapes):
        return total + sum(_in_main_memory(shape) for shape in one.shapes)
    return total + sum(size for size, shape in zip(written, one.shapes, strict=True) if shape.space == 0)


def _in_main_memory(shape: ArrayShape) -> int:
    return shape.padded_bytes if shape.space == 0 else 0


def _read(program: Program, name: str, number: int) -> int:
    """Return how much of its operand `number` a fused computation reads: slices, where nothing else looks at it."""
    computation = program.computations[name]
    parameter = computation.parameters[number]
    whole = parameter.shapes[0].padded_bytes
    read, seen = 0, [parameter.name]
    for source in seen:
        for user in computation.users[source]:
            first = user.operands[0] == source and source not in user.operands[1:]
            if user.opcode == "bitcast":
                seen.append(user.name)
            elif user.opcode in ("dynamic-slice", "slice", "gather") and first:
                read += user.shapes[0].padded_bytes
            elif user.opcode == "dynamic-update-slice" and first:
                continue
            elif user.opcode == "fusion" and (target := user.callee("calls")):
                read += sum(_read(program, target, at) for at, taken in enumerate(user.operands) if taken == source)
            else:
                return whole
    return min(read, whole)


def _written(program: Program, name: str) -> list[int]:
    """Return the bytes that each result of a fused computation writes: of an update in place, the update."""
    computation = program.computations[name]
    return _written_by(program, computation, computation.root)


def _written_by(program: Program, computation: Computation, one: Instruction) -> list[int]:
    if one.opcode == "tuple":
        operands = [computation.instructions[operand] for operand in one.operands]
        return [part for operand in operands for part in _written_by(program, computation, operand)]
    if one.opcode == "bitcast":
        inner = _written_by(program, computation, computation.instructions[one.operands[0]])
        return inner if len(inner) == 1 else [shape.padded_bytes for shape in one.shapes]
    if one.opcode == "dynamic-update-slice":
        return [computation.instructions[one.operands[1]].shapes[0].padded_bytes]
    if one.opcode == "fusion" and (target := one.callee("calls")):
        return _written(program, target)
    if one.opcode == "parameter":
        return [0 for _ in one.shapes]
    return [shape.padded_bytes for shape in one.shapes]
