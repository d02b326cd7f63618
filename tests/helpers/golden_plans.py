"""A plan's figures as a small text, kept in tests/golden/plans, and what differs between two of them.

One compiler gives one program the same FLOPs, and lays out and schedules nearly equal programs nearly alike. Another
version of the compiler may differ by more.
"""

import importlib.metadata
import re
from pathlib import Path

from samjax.plan.step_plan import Plan

FOLDER = Path(__file__).parents[1] / "golden" / "plans"
TOLERANCES = {
    "peak bytes": 0.02,
    "FLOPs": 0.0,
    "bytes moved": 0.02,
    "instructions": 0.02,
    "asynchronous instructions": 0.02,
}
OTHER_COMPILER = 0.1
REWRITE = "pytest -n 0 -m 'aot or aot_full' tests/aot --rewrite-plans"


def golden_path(name: str, topology: str, folder: Path = FOLDER) -> Path:
    """Return where the figures of a run are kept; a colon is no part of a file's name on every system."""
    return folder / f"{name}_{topology.replace(':', '-')}.txt"


def plan_text(name: str, plan: Plan) -> str:
    """Return the figures of a plan, of one chip and one step."""
    assert plan.memory is not None
    assert plan.work is not None
    figures = (
        plan.memory.peak,
        plan.work.flops,
        plan.work.bytes,
        plan.work.instructions,
        plan.work.asynchronous,
    )
    lines = [
        f"{name} on {plan.topology}, {plan.batch_size} photos a step, a chip's share",
        f"compiled by libtpu {importlib.metadata.version('libtpu')}, jax {plan.jax_version}",
        *(f"{label}: {figure:,}" for label, figure in zip(TOLERANCES, figures, strict=True)),
    ]
    return "\n".join(lines) + "\n"


def differences(golden: str, now: str) -> list[str]:
    """Return the figures of `now` that are further from those of `golden` than their tolerance, a sentence each."""
    before, after = _figures(golden), _figures(now)
    same_compiler = _compiler(golden) == _compiler(now)
    found = []
    for label, allowed in TOLERANCES.items():
        tolerance = allowed if same_compiler else OTHER_COMPILER
        if abs(after[label] - before[label]) > tolerance * before[label]:
            found.append(f"{label}: {after[label]:,}, in the golden plan {before[label]:,}, allowed {tolerance:.0%}")
    return found


def check_golden(name: str, plan: Plan, *, rewrite: bool, folder: Path = FOLDER) -> None:
    """Compare a plan with its golden text, or write that."""
    path, now = golden_path(name, plan.topology, folder), plan_text(name, plan)
    if rewrite:
        path.parent.mkdir(exist_ok=True)
        path.write_text(now)
    assert path.exists(), f"there is no {path.name}; write it: {REWRITE}"
    golden = path.read_text()
    found = differences(golden, now)
    assert not found, "\n".join([*found, f"golden: {golden}", f"now: {now}", f"if that is meant: {REWRITE}"])


def _figures(text: str) -> dict[str, int]:
    return {label: int(figure.replace(",", "")) for label, figure in re.findall(r"^(.+): ([\d,]+)$", text, re.M)}


def _compiler(text: str) -> str:
    return next((line for line in text.splitlines() if line.startswith("compiled by")), "")
