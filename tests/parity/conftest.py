"""Measuring agreement with PyTorch, and the table of errors at the end of the run."""

from pathlib import Path

import pytest
import torch
from agreement import relative_error

torch.set_num_threads(1)  # small sizes: more threads only wait for each other


@pytest.fixture
def agrees(record_property):
    """`agrees(part, ours, reference, tolerance)` asserts, and keeps the error for the table."""

    def check(part: str, ours, reference, tolerance: float = 1e-5, *, measure=relative_error) -> None:
        error = measure(ours, reference)
        record_property("parity", (part, error, tolerance))
        assert error <= tolerance, f"{part}: relative error {error:.1e}, tolerance {tolerance:.0e}"

    return check


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.parity)


def pytest_terminal_summary(terminalreporter):
    worst: dict[str, tuple[float, float, int]] = {}
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            for name, value in report.user_properties:
                if name == "parity" and report.when == "call":
                    part, error, tolerance = value
                    largest, _, count = worst.get(part, (0.0, tolerance, 0))
                    worst[part] = (max(largest, error), tolerance, count + 1)
    if not worst:
        return
    width = max(map(len, worst))
    terminalreporter.section("agreement with PyTorch: largest relative error of each part")
    terminalreporter.write_line(f"{'part':{width}}  {'error':>8}  {'tolerance':>9}  checks")
    for part, (error, tolerance, count) in worst.items():
        terminalreporter.write_line(f"{part:{width}}  {error:8.1e}  {tolerance:9.0e}  {count:6d}")
