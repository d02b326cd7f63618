"""Two sides of a comparison, each in its own process, run alternately on the same two cores."""

import gc
import importlib
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

THREADS = 2
PYTORCH, JAX = ("torch", "transformers"), ("jax", "flax", "optax")
Actions = Mapping[str, Callable[[], dict[str, np.ndarray]]]
"""Actions of a side, by name: each does its work and returns its output for comparison."""


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One action of one side: seconds, its process's peak memory above what its libraries take, and its output."""

    seconds: float
    peak_bytes: int
    output: dict[str, np.ndarray]


def model_config(name: str, *, side: int, device: str) -> Any:
    """Return the config of a model for photos of `side` pixels, without dropout; loads JAX, so for the children alone.

    Computed in float32 on a CPU, in bfloat16 on any other `device`, as PyTorch calls it; parameters are float32.
    """
    from samjax.models.sam.sam import SamConfig

    presets = {"small": SamConfig.small, "vit_b": SamConfig.vit_b, "vit_h": SamConfig.vit_h}
    model = presets[name](image_size=(side, side), dtype="float32" if device == "cpu" else "bfloat16")
    return replace(model, mask_decoder=replace(model.mask_decoder, dropout=0.0))


class Side:
    """A child process that holds one side's model."""

    def __init__(
        self, make: Callable[..., Actions], *arguments: Any, libraries: tuple[str, ...], cores: int | None = THREADS
    ):
        """Have `make(*arguments)` build the model there, after `libraries` are imported and memory is read.

        It has as many cores as asked for, None being all.
        """
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, make, arguments, libraries, cores), daemon=True)
        self._process.start()
        theirs.close()  # so that a side that dies is noticed
        self._pipe.recv()

    def __call__(self, action: str) -> Turn:
        """Run an action; if the side fails, the benchmark ends with its traceback."""
        self._pipe.send(action)
        return self._pipe.recv()

    def close(self) -> None:
        """End the process and free its memory."""
        self._pipe.send(None)
        self._process.join()


def _serve(
    pipe: Any, make: Callable[..., Actions], arguments: tuple[Any, ...], libraries: tuple[str, ...], cores: int | None
) -> None:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    for library in libraries:
        importlib.import_module(library)
    from samjax.core.heap import return_free_memory

    base = _status("VmRSS")
    actions = make(*arguments)
    pipe.send(None)
    while (action := pipe.recv()) is not None:
        gc.collect()
        return_free_memory()  # a compiler's, too
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
        began = time.perf_counter()
        output = actions[action]()
        seconds = time.perf_counter() - began
        pipe.send(Turn(seconds=seconds, peak_bytes=_status("VmHWM") - base, output=output))


def _status(name: str) -> int:
    """Return a figure of this process's memory, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {name}: this benchmark needs Linux")


@dataclass(frozen=True, kw_only=True)
class Result:
    """Medians of an action's turns on both sides."""

    ours: Turn
    theirs: Turn

    @property
    def speed(self) -> float:
        """How many times faster ours is."""
        return self.theirs.seconds / self.ours.seconds

    @property
    def memory(self) -> float:
        """Our peak as a share of theirs."""
        return self.ours.peak_bytes / self.theirs.peak_bytes


def compare(ours: Side, theirs: Side, action: str, *, turns: int, tolerance: float) -> Result:
    """Run an action on both sides in turns, after one turn each to compile, and assert that their outputs agree.

    `tolerance` bounds the norm of each output's difference, relative to its own.
    """
    sides = {"ours": ours, "theirs": theirs}
    taken: dict[str, list[Turn]] = {name: [] for name in sides}
    for turn in range(turns + 1):
        for name, side in sides.items():
            done = side(action)
            if turn:
                taken[name].append(done)
        if turn:
            agree(taken["ours"][-1].output, taken["theirs"][-1].output, tolerance)
    return Result(**{name: _median(turns) for name, turns in taken.items()})


def agree(ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray], tolerance: float) -> None:
    """Assert that two outputs are equal up to rounding."""
    assert ours.keys() == theirs.keys(), (ours.keys(), theirs.keys())
    for name, expected in theirs.items():
        assert ours[name].shape == expected.shape, (name, ours[name].shape, expected.shape)
        expected = np.asarray(expected, np.float32)
        error = np.linalg.norm(ours[name] - expected) / np.linalg.norm(expected)
        assert error <= tolerance, f"{name}: relative error {error:.1e}, above {tolerance}"


def _median(turns: list[Turn]) -> Turn:
    return Turn(
        seconds=statistics.median(turn.seconds for turn in turns),
        peak_bytes=max(turn.peak_bytes for turn in turns),
        output=turns[-1].output,
    )


def print_table(results: Mapping[str, Result], targets: Mapping[str, tuple[float, float | None]]) -> None:
    """Print a Markdown row for each comparison: seconds, peak memory, ratios and what they should be."""
    print("| | PyTorch | samjax | speed (target) | memory (target) |\n| --- | --- | --- | --- | --- |")
    for name, result in results.items():
        speed, memory = targets[name]
        sides = " | ".join(
            f"{turn.seconds:.2f} s, {turn.peak_bytes / 2**30:.2f} GiB" for turn in (result.theirs, result.ours)
        )
        wanted = "" if memory is None else f" (<= {memory}x)"
        print(f"| {name} | {sides} | {result.speed:.2f}x (>= {speed}x) | {result.memory:.2f}x{wanted} |")
