"""The largest batch that fits: a search in few probes, each of which compiles a step."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import SingleDeviceSharding

from samjax.parallel.mesh import make_mesh
from samjax.plan.memory import OutOfMemoryError, compile_step, state_bytes
from samjax.training.config import TrainConfig
from samjax.training.state import make_blueprint

_MOST = 4096
_WASTED = 3  # probes that may follow lines without doubling what fits or halving what is left


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Whether a number fits."""

    fits: bool
    bytes: int | None
    """What it needs, if known."""


def largest_batch(
    config: TrainConfig,
    devices: Sequence[Any],
    *,
    known: Probe | None = None,
    watch: Callable[[int, Probe], None] = lambda *_: None,
) -> int:
    """Return the largest batch, in photos, that fits on `devices`, 0 if none does; every probe compiles the step.

    Args:
      known: whether `config.batch_size` fits, if it has been compiled already; compiled first otherwise.
      watch: called after each compilation, with the photos per step.
    """
    mesh = make_mesh(config.mesh, devices)
    ways = mesh.shape["data"] * mesh.shape["fsdp"]

    def probe(photos: int) -> Probe:
        if known is not None and photos * ways == config.batch_size:
            return known
        try:
            memory = compile_step(dataclasses.replace(config, batch_size=photos * ways), devices).memory
            found = Probe(fits=True, bytes=memory.peak)
        except OutOfMemoryError as error:
            found = Probe(fits=False, bytes=error.needed)
        watch(photos * ways, found)
        return found

    held = state_bytes(config, make_blueprint(config, mesh), mesh)
    return ways * largest(
        probe,
        start=max(1, config.batch_size // ways),
        limit=usable_memory(devices[0]),
        base=2 * held["parameters"] + held["moments"],  # gradients are as large as parameters
    )


def usable_memory(device: Any) -> int | None:
    """Return the bytes of a device's memory that programs may use, None if its compiler does not say.

    A compiler keeps some: 0.25 GiB of a v5e's 16. It says how much is left when it refuses a program that needs more
    than any chip has.
    """
    vast = jax.ShapeDtypeStruct((2**40,), jnp.float32, sharding=SingleDeviceSharding(device))
    try:
        jax.jit(lambda values: values + 1).lower(vast).compile()
    except jax.errors.JaxRuntimeError as error:
        return OutOfMemoryError(str(error)).available
    return None


def largest(probe: Callable[[int], Probe], *, start: int, limit: int | None, base: int = 0) -> int:
    """Return the largest number that fits, where every smaller one fits too; 0 if 1 does not.

    Looks no further than a few thousand. Memory is nearly linear in the photos of a chip, so each probe is where the
    line through the two points nearest to `limit` meets it. If no point is further from a line than an eighth of what a
    photo adds, `start` and four more are probed: two for the line, and the answer and its neighbour. After three lines
    that did not help it doubles and bisects.

    Args:
      probe: whether a number fits, and its bytes.
      start: the first number to probe.
      limit: the bytes beyond which nothing fits; None halves only.
      base: about how many bytes 0 would need, for the first line.
    """
    low, high = 0, None
    points: dict[int, int] = {}
    guess, follows_line, wasted = min(start, _MOST), False, 0
    while True:
        found = probe(guess)
        if found.bytes is not None:
            points[guess] = found.bytes
        low_before, high_before = low, high
        low, high = (guess, high) if found.fits else (low, guess)
        if low == _MOST or (high is not None and high - low == 1):
            return low
        if high is None:
            helped = low >= 2 * low_before
        else:
            helped = high_before is None or 2 * (high - low) <= high_before - low_before
        wasted += follows_line and not helped
        line = None if wasted >= _WASTED or limit is None else _crossing(points, limit=limit, base=base)
        follows_line = line is not None
        if line is None:
            line = 2 * low if high is None else (low + high) // 2
        guess = min(max(line, low + 1), _MOST if high is None else high - 1)


def _crossing(points: dict[int, int], *, limit: int, base: int) -> int | None:
    """Return the number nearest to where the line through the two points closest to `limit` meets it.

    None if there are no two, or they do not rise.
    """
    nearest = sorted(points.items(), key=lambda point: abs(point[1] - limit))[:2]
    nearest = sorted(nearest if len(nearest) == 2 else [(0, base), *nearest])
    if len(nearest) < 2 or nearest[1][1] <= nearest[0][1]:
        return None
    (first, low), (second, high) = nearest
    return round(first + (limit - low) * (second - first) / (high - low))
