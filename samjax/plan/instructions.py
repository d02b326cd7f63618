"""Instructions that a chip executes in a step, with loops multiplied by their trips.

Each instruction of the compiled program costs about a microsecond, however little it moves. So a program of many small
instructions is slower than its bytes and FLOPs say.

Counted as sequential, one each: every fusion, kernel, product, copy, reduction and scalar operation outside of fusions,
and exchanges that are not started apart. Counted as asynchronous, one for each pair of start and done: copies and
slices to and from on-chip memory, exchanges, and whatever else runs beside the sequential ones. Not counted: names and
views of existing arrays, constants, and the loops, calls and conditionals themselves.
"""

import enum
import re
from dataclasses import dataclass

from samjax.plan.hlo import Instruction, Program

FREE = {
    "parameter",
    "constant",
    "tuple",
    "get-tuple-element",
    "bitcast",
    "while",
    "conditional",
    "call",
    "after-all",
    "opt-barrier",
    "partition-id",
    "replica-id",
    "add-dependency",
}
"""Opcodes of names and views of existing arrays, and of what only calls other computations."""

_FREE_TARGETS = ("AllocateBuffer", "AsyncCollective", "AssumeGatherIndicesInBound", "ConcatBitcast")
_SENDS = ("send", "recv")


class Kind(enum.Enum):
    """How an instruction runs."""

    FREE = enum.auto()
    """Not at all, or as the second half of an asynchronous one."""
    SEQUENTIAL = enum.auto()
    """After the one before it."""
    ASYNCHRONOUS = enum.auto()
    """Beside the sequential ones."""


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Instructions that a chip executes in a step."""

    sequential: int
    scalar: int
    """Those of the sequential ones that make only scalars, such as loop counters."""
    asynchronous: int


@dataclass(frozen=True, kw_only=True)
class Repetition:
    """How many sequential instructions one operation of the traced program executes, summed over a step.

    Operations of one traced function, such as those of a random draw, count together.
    """

    count: int
    operation: str


def kind(one: Instruction) -> Kind:
    """Return how an instruction runs."""
    if one.opcode in FREE or one.opcode.endswith(("-done", "-update")):
        return Kind.FREE
    if one.opcode == "custom-call" and any(target in one.attributes for target in _FREE_TARGETS):
        return Kind.FREE
    return Kind.ASYNCHRONOUS if one.opcode.endswith("-start") or one.opcode in _SENDS else Kind.SEQUENTIAL


def count_instructions(program: Program) -> Counts:
    """Count a program's instructions."""
    wrapped = _wrapped(program)
    sequential = scalar = asynchronous = 0
    for name, times in _executions(program, wrapped).items():
        for one in program.computations[name].instructions.values():
            asynchronous += times * (kind(one) is Kind.ASYNCHRONOUS)
        for one in _sequential(program, name, wrapped):
            sequential += times
            scalar += times * all(not shape.dims for shape in one.shapes)
    return Counts(sequential=sequential, scalar=scalar, asynchronous=asynchronous)


def most_instructions(program: Program, count: int) -> list[Repetition]:
    """Return the operations that execute most of `Counts.sequential`."""
    wrapped = _wrapped(program)
    found: dict[str, int] = {}
    for name, times in _executions(program, wrapped).items():
        for one in _sequential(program, name, wrapped):
            operation = _function(program.operation(one))
            found[operation] = found.get(operation, 0) + times
    ordered = sorted(found.items(), key=lambda item: -item[1])[:count]
    return [Repetition(count=times, operation=operation) for operation, times in ordered]


def _executions(program: Program, wrapped: set[str]) -> dict[str, int]:
    return program.executions(lambda name: len(_sequential(program, name, wrapped)))[0]


def _wrapped(program: Program) -> set[str]:
    """Return the computations that an `async-start` runs, which itself counts for them."""
    found = {
        one.callee("calls")
        for computation in program.computations.values()
        for one in computation.instructions.values()
        if one.opcode == "async-start"
    }
    return {name for name in found if name is not None}


def _sequential(program: Program, name: str, wrapped: set[str]) -> list[Instruction]:
    if name in wrapped:
        return []
    return [one for one in program.computations[name].instructions.values() if kind(one) is Kind.SEQUENTIAL]


def _function(operation: str) -> str:
    """Return the traced function that an operation belongs to, the innermost; itself if there is only the step."""
    found = re.match(r"(.+/jit\([^()]*\))/", operation)
    return found.group(1) if found else operation
