"""A volume of any size, made slice by slice: turbulent wisps in empty space, with the noise of a scanner."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

WAVES = 96
LONGEST, SHORTEST = 2.0, 160.0
"""Waves along the side of the whole volume."""

SLOPE = 1.1
"""Amplitudes fall with this power of the frequency."""

NOISE = 2.5
"""Standard deviation in grey values, where there is something."""


@dataclass(frozen=True)
class _Waves:
    """Factors (waves, side) of plane waves along each axis, amplitudes in the first."""

    x: NDArray[np.complex64]
    y: NDArray[np.complex64]
    z: NDArray[np.complex64]


def write_made_volume(folder: Path, side: int, seed: int = 1) -> Path:
    """Write a cube of uint8 as a .raw file, the same for the same seed, and return its path.

    Takes memory for a few slices, whatever the side.
    """
    path = folder / f"made_{side}x{side}x{side}_uint8.raw"
    waves = _waves(side, np.random.default_rng(seed))
    across = (np.arange(side, dtype=np.float32) + 0.5) / side - 0.5
    flat = across[:, None] ** 2 + across[None, :] ** 2
    with path.open("wb") as stream:
        for index in range(side):
            generator = np.random.default_rng([seed, index])
            field = _slice(waves, index) - np.float32(6.0) * (flat + across[index] ** 2)
            values = np.maximum(field * np.float32(90.0) + np.float32(40.0), 0.0)
            noise = generator.standard_normal(values.shape, np.float32) * np.float32(NOISE)
            values += np.where(values > 0.0, noise, np.float32(0.0))
            stream.write(values.clip(0.0, 255.0).astype(np.uint8).tobytes())
    return path


def _waves(side: int, generator: np.random.Generator) -> _Waves:
    """Return waves of random directions, frequencies and phases."""
    frequencies = LONGEST * (SHORTEST / LONGEST) ** generator.random(WAVES)
    directions = generator.standard_normal((WAVES, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    places = np.arange(side) / side
    amplitudes = (frequencies / LONGEST) ** -SLOPE
    start = amplitudes * np.exp(2j * np.pi * generator.random(WAVES))
    x, y, z = (
        np.exp(2j * np.pi * (frequencies * directions[:, axis])[:, None] * places) for axis in range(3)
    )
    return _Waves((start[:, None] * x).astype(np.complex64), y.astype(np.complex64), z.astype(np.complex64))


def _slice(waves: _Waves, index: int) -> NDArray[np.float32]:
    """Return the sum of the waves on one slice (y, x)."""
    turned = waves.x * waves.z[:, index, None]
    total: NDArray[np.float32] = waves.y.real.T @ turned.real - waves.y.imag.T @ turned.imag
    return total
