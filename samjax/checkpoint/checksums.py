"""Checksums of a state's arrays, to detect corruption by disk, network or memory.

Orbax stores arrays in compressed chunks without content checksums: a flipped bit can load without an error.
"""

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Shaped, UInt32

from samjax.core.tree import named_leaves

Record = dict[str, dict[str, Any]]
"""A checkpoint's record of its arrays, as JSON: the `shape`, `dtype` and `sums` of each, by path name."""

# Seeds of the two sums' weights: odd numbers without a pattern, so that neighbouring positions weigh differently.
_FACTORS = (np.uint32(0x9E3779B1), np.uint32(0x85EBCA77))

_AT_ONCE = 2**18
"""Words of a host array to sum at a time: they and their weights fit in the cache."""

Words = TypeVar("Words", np.ndarray, jax.Array)


def record(state: Any) -> tuple[Record, bool]:
    """Return the record of `state`, and whether all its values are finite.

    A sum is over 32-bit words times odd weights of their positions, modulo 2^32: it does not depend on how an array is
    sharded, and any single changed word changes it. NumPy sums host arrays, so that reading a checkpoint compiles
    nothing; device arrays are summed in place, all by one program.
    """
    leaves = named_leaves(state)
    on_host = {name: leaf for name, leaf in leaves.items() if isinstance(leaf, np.ndarray)}
    elsewhere = {name: leaf for name, leaf in leaves.items() if name not in on_host}
    sums, finite = jax.device_get(_inspect(elsewhere)) if elsewhere else ({}, True)
    sums |= {name: _sums_on_host(leaf) for name, leaf in on_host.items()}
    arrays = {
        name: {
            "shape": list(leaf.shape),
            "dtype": str(leaf.dtype),
            "sums": [int(part) for part in sums[name]],
        }
        for name, leaf in leaves.items()
    }
    return arrays, bool(finite) and all(_is_finite(leaf) for leaf in on_host.values())


def differences(saved: Record, state: Any) -> list[str]:
    """Return how `state` differs from the record it was saved with, a phrase per array; empty if it does not."""
    now, _ = record(state)
    return compare(saved, now, fields=("shape", "dtype", "sums"))


def compare(saved: Mapping[str, Any], found: Mapping[str, Any], *, fields: tuple[str, ...]) -> list[str]:
    """Return a phrase for each array whose `fields` differ between the two."""
    said = []
    for name in sorted({*saved, *found}):
        if name not in saved or name not in found:
            said.append(f"{name} is {'missing' if name in saved else 'not of this checkpoint'}")
            continue
        wrong = [field for field in fields if saved[name].get(field) != found[name].get(field)]
        if wrong == ["sums"]:
            said.append(f"{name} has other contents than were saved")
        elif wrong:
            said.append(f"{name} has {wrong[0]} {found[name].get(wrong[0])}, saved {saved[name].get(wrong[0])}")
    return said


@jax.jit
def _inspect(leaves: dict[str, Array]) -> tuple[dict[str, tuple[Array, Array]], Bool[Array, ""]]:
    finite = jnp.bool_(True)
    for leaf in leaves.values():
        if jnp.issubdtype(leaf.dtype, jnp.inexact):
            finite &= jnp.isfinite(leaf).all()
    return {name: _sums_on_devices(leaf) for name, leaf in leaves.items()}, finite


def _weights(place: Words, factor: np.uint32) -> Words:
    """Return the weights of words at these positions of their array, in row-major order."""
    weight = (place + np.uint32(1)) * factor
    return (weight ^ (weight >> np.uint32(15))) * factor | np.uint32(1)


def _sums_on_devices(x: Shaped[Array, "*n"]) -> tuple[UInt32[Array, ""], UInt32[Array, ""]]:
    words = _words(x, lambda unsigned: jax.lax.bitcast_convert_type(x, unsigned))
    place = jnp.zeros(words.shape, jnp.uint32)
    for axis, size in enumerate(words.shape):  # of the shaped array, not a flat one: a sharded array stays sharded
        place = place * jnp.uint32(size) + jax.lax.broadcasted_iota(jnp.uint32, words.shape, axis)
    first, second = (jnp.sum(words * _weights(place, factor), dtype=jnp.uint32) for factor in _FACTORS)
    return first, second


def _sums_on_host(x: Shaped[np.ndarray, "*n"]) -> tuple[int, int]:
    sums = [0, 0]
    for start, part in _parts(x):
        words = _words(part, part.view)
        place = np.arange(start, start + len(words), dtype=np.uint64).astype(np.uint32)
        for k, factor in enumerate(_FACTORS):
            sums[k] += int(np.sum(words * _weights(place, factor), dtype=np.uint64))
    return sums[0] % 2**32, sums[1] % 2**32


def _is_finite(x: Shaped[np.ndarray, "*n"]) -> bool:
    return not jnp.issubdtype(x.dtype, jnp.inexact) or all(bool(np.isfinite(part).all()) for _, part in _parts(x))


def _parts(x: Shaped[np.ndarray, "*n"]) -> Iterator[tuple[int, Shaped[np.ndarray, " k"]]]:
    """Yield pieces of a flat array, and the position of the first word of each."""
    flat = np.ascontiguousarray(x).reshape(-1)
    words = max(1, x.dtype.itemsize // 4)
    for start in range(0, flat.size, _AT_ONCE):
        yield start * words, flat[start : start + _AT_ONCE]


def _words(x: Any, view_as: Any) -> Any:
    """Return the bits of `x` as 32-bit words; a smaller number takes one word."""
    if x.dtype == np.bool_:
        return x.astype(np.uint32)
    return view_as(np.dtype(f"uint{8 * min(4, x.dtype.itemsize)}")).astype(np.uint32)
