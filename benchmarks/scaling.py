"""Predicted weak scaling: one photo per chip on growing numbers of chips, read from the compiled programs.

    python benchmarks/scaling.py                       # 8 to 1,024 v5p chips; needs pip install '.[tpu]', no TPU
    python benchmarks/scaling.py --chips 8 16 32       # fewer

Nothing is run or timed. What a chip computes, moves and sends must not grow with the number of chips: rings send
(n - 1)/n of an array, which has a limit, and only the latency of all-reduces grows, with the logarithm of n. Parameters
are split over up to 16 chips; more hold copies.
"""

import argparse
import sys
from dataclasses import dataclass

from samjax.data.masks.mask_data import MaskDataConfig
from samjax.models.sam.image_encoder import ImageEncoderConfig
from samjax.models.sam.mask_decoder import MaskDecoderConfig
from samjax.models.sam.sam import SamConfig
from samjax.nn.stack import Remat
from samjax.parallel.mesh import MeshConfig, Preset
from samjax.plan.step_plan import Plan, make_plan
from samjax.plan.topology import parse_topology
from samjax.prompting.interactive import InteractionConfig
from samjax.tasks.promptable import PromptableTraining

SLICES = {
    8: "v5p:2x2x2",
    16: "v5p:2x2x4",
    32: "v5p:2x4x4",
    64: "v5p:4x4x4",
    128: "v5p:4x4x8",
    256: "v5p:4x8x8",
    512: "v5p:8x8x8",
    1024: "v5p:8x8x16",
}
TOLERANCE = 1.05


@dataclass(frozen=True, kw_only=True)
class Row:
    """A chip's share of a step; sizes in MiB."""

    chips: int
    mesh: str
    gflop: float
    peak: float
    moved: float
    gathered: float
    reduced: float
    sent: float
    exchanges: int


def config(chips: int) -> PromptableTraining:
    """Return a model whose widths divide as the published ones do, a photo a chip."""
    return PromptableTraining(
        model=SamConfig(
            image_size=(256, 256),
            image_encoder=ImageEncoderConfig(
                width=256, depth=4, heads=4, window=7, global_every=2, drop_path=0.4, remat=Remat.FULL
            ),
            mask_decoder=MaskDecoderConfig(dropout=0.1),
            dtype="bfloat16",
        ),
        data=MaskDataConfig(source="", max_masks=4),
        prompting=InteractionConfig(corrections=2),
        mesh=MeshConfig(preset=Preset.FSDP),
        batch_size=chips,
    )


def row(plan: Plan) -> Row:
    assert plan.work is not None
    assert plan.memory is not None
    assert plan.work.unknown_loops == 0

    def size(*kinds: str) -> float:
        return sum(one.bytes for one in plan.collectives if one.kind in kinds) / 2**20

    return Row(
        chips=plan.chips,
        mesh=f"{plan.mesh['data']} x {plan.mesh['fsdp']}",
        gflop=plan.work.flops / 1e9,
        peak=plan.memory.peak / 2**20,
        moved=plan.work.bytes / 2**20,
        gathered=size("all-gather"),
        reduced=size("all-reduce", "reduce-scatter"),
        sent=sum(one.bytes_per_chip for one in plan.collectives) / 2**20,
        exchanges=sum(one.count for one in plan.collectives),
    )


def grown(rows: list[Row]) -> list[str]:
    """Return what grows with the number of chips, a sentence each."""
    first = rows[0]
    found = []
    for last in rows[1:]:
        ring = ((last.chips - 1) / last.chips) / ((first.chips - 1) / first.chips)
        for name in ("gflop", "peak", "moved", "gathered", "reduced", "sent", "exchanges"):
            allowed = TOLERANCE * getattr(first, name) * (ring if name == "sent" else 1)
            if getattr(last, name) > allowed:
                found.append(
                    f"{name} is {getattr(last, name):,.1f} on {last.chips} chips, {getattr(first, name):,.1f} on "
                    f"{first.chips}"
                )
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chips", type=int, nargs="+", default=list(SLICES), choices=list(SLICES), metavar="N")
    known = parser.parse_args()

    print("| chips | data x fsdp | GFLOP | peak MiB | moved MiB | gathered MiB | reduced MiB | sent MiB | exchanges |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    rows = []
    for chips in sorted(known.chips):
        one = row(make_plan(config(chips), parse_topology(SLICES[chips])))
        rows.append(one)
        print(
            f"| {one.chips:,} | {one.mesh} | {one.gflop:.2f} | {one.peak:.1f} | {one.moved:.1f} | {one.gathered:.1f} | "
            f"{one.reduced:.1f} | {one.sent:.1f} | {one.exchanges:,} |",
            flush=True,
        )
    found = grown(rows)
    print("\n".join(found) or "nothing grows with the number of chips")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
