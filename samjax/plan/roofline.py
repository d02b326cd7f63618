"""A lower bound on the time of a program on a chip: a floor, not a forecast."""

import dataclasses
from dataclasses import dataclass

from samjax.parallel.chips import Chip

INSTRUCTION_SECONDS = 1e-6
"""What each instruction of a compiled program costs before it does any work: 1 us, until measured on a chip."""


@dataclass(frozen=True, kw_only=True)
class Term:
    """The time of a step if only one resource were the limit."""

    name: str
    seconds: float
    amount: float
    unit: str
    assumption: str


@dataclass(frozen=True, kw_only=True)
class Floor:
    """What limits a step: resources that are used side by side, and the latency of its instructions on top."""

    terms: tuple[Term, ...]
    """Compute, memory, interconnect: as if they overlapped, so the longest counts."""
    latency: Term
    """Of instructions that run one after another. It is spent before an instruction computes, moves or sends anything,
    so it is added to the longest term."""

    @property
    def seconds(self) -> float:
        """The longest term, and the latency."""
        return max(term.seconds for term in self.terms) + self.latency.seconds

    @property
    def without_latency(self) -> "Floor":
        """The floor if an instruction took no time but for its work: the longest term alone."""
        return dataclasses.replace(self, latency=dataclasses.replace(self.latency, seconds=0.0))

    @property
    def without_overlap(self) -> float:
        """The sum of all terms and the latency: no overlap."""
        return sum(term.seconds for term in self.terms) + self.latency.seconds

    @property
    def bound(self) -> str:
        """What takes most of the floor."""
        return max((*self.terms, self.latency), key=lambda term: term.seconds).name


def floor(chip: Chip, *, flops: float, memory_bytes: float, sent_bytes: float, instructions: int) -> Floor:
    """Return the floor of a step that does this much on each chip.

    Args:
      instructions: those that run one after another, asynchronous ones excluded.
    """
    return Floor(
        terms=(
            Term(
                name="compute",
                seconds=flops / chip.flops,
                amount=flops,
                unit="FLOP",
                assumption="matrix products of the compiled program, recomputation included, at "
                f"{chip.flops / 1e12:.0f} TFLOP/s in bfloat16",
            ),
            Term(
                name="memory",
                seconds=memory_bytes / chip.memory_bandwidth,
                amount=memory_bytes,
                unit="B",
                assumption="operands and results of the compiled program's instructions, each read or written once, at "
                f"{chip.memory_bandwidth / 1e9:,.0f} GB/s; kernels that read a block again are not seen to",
            ),
            Term(
                name="interconnect",
                seconds=sent_bytes / chip.interconnect,
                amount=sent_bytes,
                unit="B",
                assumption="what rings send, spread over all links of a chip, at "
                f"{chip.interconnect / 1e9:,.0f} GB/s, without latency",
            ),
        ),
        latency=Term(
            name="latency",
            seconds=instructions * INSTRUCTION_SECONDS,
            amount=float(instructions),
            unit="instructions",
            assumption="instructions that run one after another, asynchronous copies excluded, at "
            f"{INSTRUCTION_SECONDS * 1e6:g} us each: an assumption until measured on a chip",
        ),
    )
