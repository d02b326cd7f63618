"""Communication between chips in a step, read from the compiled program."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from samjax.plan.hlo import Instruction, Program

_KINDS = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute", "collective-broadcast")


@dataclass(frozen=True, kw_only=True)
class Collective:
    """One kind of exchange between groups of `chips`, summed over a step."""

    kind: str
    chips: int
    count: int
    bytes: int
    """Of the whole array a chip ends with, or starts with: the gathered one, the one to be reduced or exchanged."""

    @property
    def bytes_per_chip(self) -> float:
        """Total bytes that a chip sends, by the algorithms that send least (rings).

        Gathering and scattering move (n - 1)/n of the whole array past each chip, an all-reduce is one of each.
        """
        part = (self.chips - 1) / self.chips
        match self.kind:
            case "all-reduce":
                return 2 * part * self.bytes
            case "collective-permute" | "collective-broadcast":
                return float(self.bytes)
            case _:
                return part * self.bytes


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """What one operation of the traced program makes chips exchange, summed over a step."""

    kind: str
    chips: int
    count: int
    bytes: int
    operation: str


def collectives(program: Program) -> list[Collective]:
    """Return the exchanges of a step by kind and group size, multiplied by the trips of their loops."""
    found: dict[tuple[str, int], list[int]] = {}
    for one in exchanges(program):
        total = found.setdefault((one.kind, one.chips), [0, 0])
        total[0] += one.count
        total[1] += one.bytes
    ordered = sorted(found.items(), key=lambda item: -item[1][1])
    return [Collective(kind=kind, chips=chips, count=count, bytes=size) for (kind, chips), (count, size) in ordered]


def exchanges(program: Program) -> list[Exchange]:
    """Return the exchanges of a step by the operation that causes them, the largest first.

    Of a conditional, the branch that exchanges most counts.
    """

    def exchanged(name: str) -> int:
        return sum(size for _, chips, size, _ in _in(program, name) if chips > 1)

    found: dict[tuple[str, int, str], list[int]] = {}
    for name, times in program.executions(exchanged)[0].items():
        for kind, chips, size, operation in _in(program, name):
            if chips > 1:
                total = found.setdefault((kind, chips, operation), [0, 0])
                total[0] += times
                total[1] += times * size
    ordered = sorted(found.items(), key=lambda item: -item[1][1])
    return [
        Exchange(kind=kind, chips=chips, count=count, bytes=size, operation=operation)
        for (kind, chips, operation), (count, size) in ordered
    ]


def _in(program: Program, name: str) -> Iterator[tuple[str, int, int, str]]:
    """Yield kind, group size, bytes and operation of the exchanges that a run of computation `name` makes itself.

    TPUs overlap an exchange with other work by fusing it, in pieces, into several fusions: one channel, one exchange.
    And they know an all-reduce of which each chip keeps a part, which is a reduce-scatter.
    """
    pieces: set[tuple[str, tuple]] = set()
    for one in program.computations[name].instructions.values():
        scatters = one.opcode == "fusion" and (one.callee("calls") or "").startswith("all-reduce-scatter")
        for exchange in _inside(program, one):
            kind = exchange.opcode.removesuffix("-start")
            if kind not in _KINDS:
                continue
            if "async_collective_fusion_config" in exchange.attributes:
                piece = (_attribute(exchange, r"channel_id=(\d+)"), exchange.shapes)
                if piece in pieces:
                    continue
                pieces.add(piece)
            chips = group_size(exchange.attributes, program.chips)
            size = _bytes(exchange, kind) * (chips if kind == "reduce-scatter" else 1)
            yield "reduce-scatter" if scatters else kind, chips, size, exchange.operation or program.operation(one)


def _inside(program: Program, one: Instruction) -> Iterator[Instruction]:
    target = one.callee("calls") if one.opcode == "fusion" else None
    if target is None:
        yield one
    else:
        yield from program.inside(target)


def _bytes(exchange: Instruction, kind: str) -> int:
    """Return the size of an exchange's result; one that is started apart lists its operands first."""
    shapes = exchange.shapes
    if exchange.opcode == "collective-permute-start":
        shapes = shapes[1:2]
    elif exchange.opcode.endswith("-start") and kind != "all-reduce":
        shapes = shapes[len(exchange.operands) : 2 * len(exchange.operands)]
    return sum(shape.bytes for shape in shapes)


def group_size(attributes: str, chips: int) -> int:
    """Return how many chips exchange with each other, from any of the forms XLA prints replica groups in."""
    if "source_target_pairs={" in attributes:
        return 2
    listed = re.search(r"replica_groups=\{\{([\d,]*)\}", attributes)
    if listed:
        return listed.group(1).count(",") + 1
    tiled = re.search(r"replica_groups=\[(\d+),(\d+)\]<=", attributes)
    if tiled:
        return int(tiled.group(2))
    mesh = re.search(r"replica_groups=mesh\[([^\]]*)\][^{]*\{([^}]*)\}", attributes)
    if mesh:
        sizes = {axis: int(size) for axis, size in re.findall(r"'([^']+)'=(\d+)", mesh.group(1))}
        # A part of an axis is printed with its size: 'axis':(1)2.
        over = re.findall(r"'([^']+)'(?::\(\d+\)(\d+))?", mesh.group(2))
        return math.prod(int(part) if part else sizes[axis] for axis, part in over)
    return chips


def _attribute(one: Instruction, pattern: str) -> str:
    found = re.search(pattern, one.attributes)
    return found.group(1) if found else one.name
