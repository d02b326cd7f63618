"""A lower bound on the time of a program on a chip: a floor, not a forecast."""

from dataclasses import dataclass

from samjax.parallel.chips import Chip


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
    """The terms of a step. The longest is the floor; their sum is what it takes if nothing overlaps."""

    terms: tuple[Term, ...]

    @property
    def seconds(self) -> float:
        """The longest term."""
        return max(term.seconds for term in self.terms)

    @property
    def without_overlap(self) -> float:
        """The sum of all terms: no overlap."""
        return sum(term.seconds for term in self.terms)

    @property
    def bound(self) -> str:
        """What the longest term is."""
        return max(self.terms, key=lambda term: term.seconds).name


def floor(chip: Chip, *, flops: float, memory_bytes: float, sent_bytes: float) -> Floor:
    """Return the floor of a step that does this much on each chip."""
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
                f"{chip.interconnect / 1e9:,.0f} GB/s; latency is left out",
            ),
        )
    )
