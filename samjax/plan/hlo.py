"""A compiled program as XLA prints it: computations, their instructions, arrays with their layouts, loops.

Only what costs are counted from is read; the text is that of `jax.stages.Compiled.as_text()`, one program of one chip.
"""

import functools
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_BITS = {"pred": 8, "token": 0, "opaque": 0, "bf16": 16, "c64": 64, "c128": 128}
_ARRAY = re.compile(r"([a-z]\w*)\[([\d,]*)\](?:\{([\d,]*)(?::([^}]*))?\})?")
_HEAD = re.compile(r"^(ENTRY )?%?([^\s(]+) \(.*\{$")
_END = re.compile(r"^\}(, execution_thread=\"\w+\")?\s*$")  # a v6e's sparse cores run some computations
_NAME = re.compile(r"^\s+(ROOT )?%?(\S+) = ")
_OPCODE = re.compile(r"\s*([a-z][\w\-]*)\(")
_OPERAND = re.compile(r"%([\w.\-]+)")
_TILE = re.compile(r"T\(([\d,]+)\)")
_SPACE = re.compile(r"S\((\d+)\)")


@dataclass(frozen=True, slots=True)
class ArrayShape:
    """An array of a compiled program, on one chip."""

    dtype: str
    dims: tuple[int, ...]
    minor_to_major: tuple[int, ...] = ()
    tile: tuple[int, ...] = ()
    """Sizes that the most minor dimensions are padded to multiples of; empty on CPU and GPU."""
    space: int = 0
    """Memory: 0 is the chip's main memory, others are on the chip itself or on the host."""

    @property
    def elements(self) -> int:
        """How many there are, without padding."""
        return math.prod(self.dims)

    @property
    def bytes(self) -> int:
        """Of the elements alone."""
        return self.elements * _bits(self.dtype) // 8

    @property
    def padded_bytes(self) -> int:
        """As it lies in memory."""
        dims = list(self.dims)
        for dim, size in zip(self.minor_to_major, reversed(self.tile), strict=False):
            dims[dim] = -(-dims[dim] // size) * size
        return math.prod(dims) * _bits(self.dtype) // 8


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction; a tuple's arrays are flattened."""

    name: str
    opcode: str
    shapes: tuple[ArrayShape, ...]
    operands: tuple[str, ...]
    operand_text: str
    attributes: str
    root: bool

    def callee(self, attribute: str) -> str | None:
        """Return the computation that `attribute` names: calls, body, condition, to_apply."""
        found = re.search(rf"\b{attribute}=%?([\w.\-]+)", self.attributes)
        return found.group(1) if found else None

    @property
    def operation(self) -> str:
        """What it does in the words of the traced program, such as `transpose(jvp())/while/body/dot_general`."""
        found = re.search(r'op_name="([^"]*)"', self.attributes)
        return found.group(1) if found else ""


class Computation:
    """Instructions by name, in order."""

    def __init__(self, name: str, instructions: list[Instruction]):
        self.name = name
        self.instructions = {instruction.name: instruction for instruction in instructions}
        self.root = next((one for one in reversed(instructions) if one.root), instructions[-1])

    @functools.cached_property
    def parameters(self) -> dict[int, Instruction]:
        """Its parameters by their number."""
        return {int(one.operand_text): one for one in self.instructions.values() if one.opcode == "parameter"}

    @functools.cached_property
    def users(self) -> dict[str, list[Instruction]]:
        """The instructions that take each instruction's result."""
        users: dict[str, list[Instruction]] = {name: [] for name in self.instructions}
        for one in self.instructions.values():
            for operand in dict.fromkeys(one.operands):
                users[operand].append(one)
        return users


@dataclass(frozen=True)
class Program:
    """A whole compiled program."""

    computations: dict[str, Computation]
    entry: str
    chips: int

    def executions(self, cost: Callable[[str], int] | None = None) -> tuple[dict[str, int], list[str]]:
        """Return how often each computation runs in a step, and the loops whose trips are not known (counted once).

        A loop evaluates its condition once more than its body. Computations inside of a fusion or a reduction are part
        of their instruction and not listed.

        Args:
          cost: what one run of a computation costs, without those it calls. Of a conditional, only the most costly
            branch counts, so that a step that may skip work counts as one that does it. None counts every branch.
        """
        times: dict[str, int] = {}
        unknown: list[str] = []

        @functools.cache
        def total(name: str) -> int:
            assert cost is not None
            found = cost(name)
            for one in self.computations[name].instructions.values():
                found += max(map(total, _branches(one)), default=0)
                found += sum(count * total(callee) for callee, count in self._calls(one))
            return found

        def run(name: str, count: int) -> None:
            times[name] = times.get(name, 0) + count
            for one in self.computations[name].instructions.values():
                branches = _branches(one)
                for branch in branches if cost is None else sorted(branches, key=total)[-1:]:
                    run(branch, count)
                for callee, trips in self._calls(one):
                    run(callee, count * trips)
                if one.opcode == "while" and self.trips(one) is None:
                    unknown.append(one.name)

        run(self.entry, 1)
        return times, unknown

    def _calls(self, one: Instruction) -> list[tuple[str, int]]:
        """Return the computations that an instruction runs, but for branches, and how often each."""
        if one.opcode == "while":
            trips = self.trips(one)
            trips = 1 if trips is None else trips
            calls = [(one.callee("body"), trips), (one.callee("condition"), trips + 1)]
        elif one.opcode in ("call", "async-start"):
            calls = [(one.callee("to_apply") or one.callee("calls"), 1)]
        else:
            calls = []
        return [(name, count) for name, count in calls if name]

    def trips(self, loop: Instruction) -> int | None:
        """Return how often a while loop's body runs: as XLA notes it, or the constant its counter is compared with.

        The counters of `lax.scan` go from zero by one. None if the condition is of another kind.
        """
        noted = re.search(r'"known_trip_count":\{"n":"(\d+)"', loop.attributes)
        if noted:
            return int(noted.group(1))
        condition = loop.callee("condition")
        if condition is None:
            return None
        bounds = [
            int(one.operand_text)
            for one in self.inside(condition)
            if one.opcode == "constant" and re.fullmatch(r"\d+", one.operand_text)
        ]
        compared = [one for one in self.inside(condition) if one.opcode == "compare"]
        if len(bounds) == 1 and len(compared) == 1 and "direction=LT" in compared[0].attributes:
            return bounds[0]
        return None

    def operation(self, one: Instruction) -> str:
        """Return the traced operation behind an instruction: of a fusion without a name, its product's or its last.

        In brackets, what the compiler calls it, if no traced operation is behind it: `(copy-start)`.
        """
        target = one.callee("calls") if one.opcode == "fusion" else None
        named = [inner for inner in self.inside(target) if inner.operation] if target and not one.operation else []
        products = [inner for inner in named if inner.opcode in ("dot", "convolution")]
        return (products or named or [one])[-1].operation or f"({one.opcode})"

    def inside(self, name: str) -> Iterator[Instruction]:
        """Yield the instructions of a computation and of the fusions in it."""
        for one in self.computations[name].instructions.values():
            yield one
            if one.opcode == "fusion" and (target := one.callee("calls")):
                yield from self.inside(target)


def parse(text: str) -> Program:
    """Read the text of a compiled program.

    Raises:
      ValueError: a line that is no instruction where one belongs, or no entry computation.
    """
    computations: dict[str, Computation] = {}
    entry = name = None
    lines: list[str] = []
    for line in text.splitlines():
        if name is None:
            head = _HEAD.match(line)
            if head:
                name, lines = head.group(2), []
                entry = name if head.group(1) else entry
        elif _END.match(line):
            computations[name] = Computation(name, [_instruction(line) for line in lines])
            name = None
        elif _NAME.match(line) or not lines:
            lines.append(line)
        else:
            lines[-1] += line  # a kernel's metadata may hold line ends
    if entry is None:
        raise ValueError("the text has no ENTRY computation: it is not a compiled program of XLA")
    counted = re.search(r"\bnum_partitions=(\d+)", text.split("\n", 1)[0])
    return Program(computations=computations, entry=entry, chips=int(counted.group(1)) if counted else 1)


def _instruction(line: str) -> Instruction:
    name = _NAME.match(line)
    if name is None:
        raise ValueError(f"not an instruction of XLA: {line[:120]!r}")
    start = name.end()
    end = _closing(line, start) + 1 if line[start] == "(" else line.index(" ", start)
    opcode = _OPCODE.match(line, end)
    if opcode is None:
        raise ValueError(f"not an instruction of XLA: {line[:120]!r}")
    close = _closing(line, opcode.end() - 1)
    operand_text = line[opcode.end() : close]
    return Instruction(
        name=name.group(2),
        opcode=opcode.group(1),
        shapes=_shapes(line[start:end]),
        operands=tuple(_OPERAND.findall(operand_text)),
        operand_text=operand_text,
        attributes=line[close + 1 :],
        root=name.group(1) is not None,
    )


def _closing(text: str, start: int) -> int:
    """Return where the parenthesis opened at `start` closes."""
    depth = 0
    for found in re.compile(r"[()]").finditer(text, start):
        depth += 1 if found.group() == "(" else -1
        if depth == 0:
            return found.start()
    raise ValueError(f"unbalanced parentheses in {text[:120]!r}")


@functools.lru_cache(maxsize=100_000)
def _shapes(text: str) -> tuple[ArrayShape, ...]:
    found = []
    for dtype, dims, order, layout in _ARRAY.findall(text):
        tile, space = _TILE.search(layout), _SPACE.search(layout)
        found.append(
            ArrayShape(
                dtype=dtype,
                dims=_numbers(dims),
                minor_to_major=_numbers(order),
                tile=_numbers(tile.group(1)) if tile else (),
                space=int(space.group(1)) if space else 0,
            )
        )
    return tuple(found)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(",") if number)


@functools.cache
def _bits(dtype: str) -> int:
    if dtype in _BITS:
        return _BITS[dtype]
    return int(re.match(r"[a-z]+(\d+)", dtype).group(1))  # type: ignore[union-attr]


def _branches(one: Instruction) -> list[str]:
    """Return the branches of a conditional; of any other instruction, none."""
    if one.opcode != "conditional":
        return []
    several = re.search(r"branch_computations=\{([^}]*)\}", one.attributes)
    if several:
        return _OPERAND.findall(several.group(1))
    return [name for kind in ("true_computation", "false_computation") if (name := one.callee(kind))]
