"""Eight tiles of texture for synthetic photos, the same in every photo, laid at another place each time."""

import functools

import numpy as np
from jaxtyping import Float32, UInt8

TEXTURES = 8

_SIDE = 512
_LEVELS = 255


def draw_texture(rng: np.random.Generator, texture: int, *, size: tuple[int, int]) -> Float32[np.ndarray, "h w"]:
    """Return `size` = (h, w) pixels of a texture, 0 to 1, the tile repeated from a drawn place on."""
    top, left = rng.integers(0, _SIDE, 2)
    rows, columns = (np.arange(size[0]) + top) % _SIDE, (np.arange(size[1]) + left) % _SIDE
    return _tiles()[texture][rows].take(columns, axis=1) * np.float32(1 / _LEVELS)


@functools.cache
def _tiles() -> UInt8[np.ndarray, "textures side side"]:
    """Return the tiles; each joins itself at its borders."""
    rng = np.random.default_rng(2304_02643)
    y, x = np.mgrid[:_SIDE, :_SIDE] / _SIDE
    turn = 2 * np.pi
    soft, rough = _noise(rng, slope=1.8), _noise(rng, slope=1.1)
    tiles = [
        soft,
        rough,
        _noise(rng, slope=0.4),
        _noise(rng, slope=1.2, across=12.0),  # brushed
        np.sin(turn * 32 * y + 5 * soft),  # ripples
        np.sin(turn * 24 * (x + y) + 1.5 * soft),  # stripes
        np.tanh(4 * (_noise(rng, slope=0.9, least=12.0) - 0.8)),  # speckles
        np.sin(turn * 40 * x) * np.sin(turn * 40 * y),  # weave
    ]
    grain = rng.normal(0, 0.06, (TEXTURES, _SIDE, _SIDE))
    levels = []
    for tile in tiles:
        low, high = np.percentile(tile, [1, 99])
        levels.append((tile - low) / (high - low))
    return (np.clip(np.stack(levels) + grain, 0, 1) * _LEVELS + 0.5).astype(np.uint8)


def _noise(
    rng: np.random.Generator, *, slope: float, across: float = 1.0, least: float = 0.0
) -> Float32[np.ndarray, "side side"]:
    """Return noise whose amplitude falls with frequency to the power of `slope`, of mean 0 and deviation 1.

    Waves of fewer than `least` periods across the tile are left out; `across` is how much faster it falls along x.
    """
    frequencies = np.fft.fftfreq(_SIDE, 1 / _SIDE)
    distance = np.hypot(frequencies[:, None], frequencies[None, :] * across)
    gain = np.where(distance > least, np.maximum(distance, 1) ** -slope, 0)
    gain[0, 0] = 0
    noise = np.fft.ifft2(gain * np.fft.fft2(rng.normal(size=(_SIDE, _SIDE)))).real
    return (noise / noise.std()).astype(np.float32)
