"""Volumes made of nothing but random numbers: what shipped models are trained on beside freely licensed data.

Five sorts take turns: smoke (a plume torn by several scales of swirl), turbulence, solid parts as a scanner
sees them, vessels, and the narrow band of distances around blobs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Field = NDArray[np.float32]


def procedural_volumes(count: int, side: int, seed: int) -> Iterator[tuple[str, Field]]:
    """Yield `count` named volumes, (side, side, side) float32 from 0 to 1, the same for the same seed."""
    makers: tuple[tuple[str, Callable[[int, np.random.Generator], Field]], ...] = (
        ("smoke", smoke),
        ("turbulence", turbulence),
        ("scan", scanned_parts),
        ("vessels", vessels),
        ("narrow band", narrow_band),
    )
    for index in range(count):
        name, make = makers[index % len(makers)]
        volume = make(side, np.random.default_rng([seed, index]))
        yield f"{name} {index // len(makers)}", _from_zero_to_one(volume)


def turbulence(side: int, generator: np.random.Generator) -> Field:
    """Return noise whose energy falls with a power of the frequency, sometimes squeezed into wisps."""
    field = power_noise(side, generator, generator.uniform(1.4, 3.2))
    if generator.random() < 0.5:
        field = np.maximum(field + generator.uniform(-0.8, 0.4), 0.0)
    return field


def smoke(side: int, generator: np.random.Generator) -> Field:
    """Return a plume of blobs, carried along divergence-free swirls of several sizes; zero around it."""
    grid = _lattice(side)
    field = np.zeros((side,) * 3, np.float32)
    for _ in range(generator.integers(2, 7)):
        centre = np.array([*generator.uniform(0.35, 0.65, 2), generator.uniform(0.1, 0.8)])
        radius = generator.uniform(0.05, 0.16)
        distance = sum((axis / side - place) ** 2 for axis, place in zip(grid, centre, strict=True))
        field += np.exp(-distance / radius**2).astype(np.float32)
    for strength in generator.uniform(0.5, 4.0, 3):
        potential = [power_noise(side, generator, generator.uniform(2.0, 3.0)) for _ in range(3)]
        slopes = [np.gradient(part) for part in potential]
        swirl = [slopes[(i + 2) % 3][(i + 1) % 3] - slopes[(i + 1) % 3][(i + 2) % 3] for i in range(3)]
        scale = strength / max(float(np.std(swirl)), 1e-9)
        places = [axis - scale * part for axis, part in zip(grid, swirl, strict=True)]
        field = ndimage.map_coordinates(field, places, order=1, mode="nearest")
    detail = 1.0 + generator.uniform(0.1, 0.6) * power_noise(side, generator, 1.8)
    return np.maximum(field * detail - generator.uniform(0.02, 0.2), 0.0)


def scanned_parts(side: int, generator: np.random.Generator) -> Field:
    """Return solid ellipsoids and boxes of a few densities, blurred and noisy as from a scanner."""
    grid = _lattice(side)
    field = np.zeros((side,) * 3, np.float32)
    for _ in range(generator.integers(4, 14)):
        centre, radius = generator.uniform(0.15, 0.85, 3) * side, generator.uniform(0.04, 0.35, 3) * side
        offsets = [np.abs(axis - c) / r for axis, c, r in zip(grid, centre, radius, strict=True)]
        power = generator.choice([2.0, 2.0, 8.0])
        inside = sum(offset**power for offset in offsets) < 1.0
        field[inside] = generator.uniform(0.1, 1.0)
    blurred = ndimage.gaussian_filter(field, generator.uniform(0.4, 1.2))
    noisy = blurred + generator.choice([0.0, 0.01, 0.03]) * _white(side, generator)
    cleaned: Field = noisy * (noisy > generator.choice([-9.0, 0.05]))
    return cleaned


def vessels(side: int, generator: np.random.Generator) -> Field:
    """Return bright tubes along random walks in a dim, uneven surrounding."""
    seeds = np.ones((side,) * 3, bool)
    for _ in range(generator.integers(2, 7)):
        steps = ndimage.gaussian_filter1d(generator.normal(size=(4 * side, 3)), 6.0, axis=0)
        path = generator.uniform(0.2, 0.8, 3) * side + np.cumsum(3.0 * steps, axis=0)
        x, y, z = np.clip(np.rint(path), 0, side - 1).astype(int).T
        seeds[x, y, z] = False
    distance = ndimage.distance_transform_edt(seeds).astype(np.float32)
    tubes = np.clip(generator.uniform(1.5, 4.0) - distance, 0.0, 1.0)
    around = generator.uniform(0.0, 0.15) * power_noise(side, generator, 2.2)
    field: Field = tubes + around + generator.choice([0.0, 0.02]) * _white(side, generator)
    return field


def narrow_band(side: int, generator: np.random.Generator) -> Field:
    """Return distances to a blobby surface, cut off three to six voxels away from it."""
    field = power_noise(side, generator, generator.uniform(2.6, 3.6))
    inside = field > generator.uniform(-0.3, 0.8)
    outer = ndimage.distance_transform_edt(~inside)
    inner = ndimage.distance_transform_edt(inside)
    signed = ndimage.gaussian_filter((outer - inner).astype(np.float32), 0.7)
    width = generator.uniform(3.0, 6.0)
    clipped: Field = np.clip(signed, -width, width)
    return clipped


def power_noise(side: int, generator: np.random.Generator, exponent: float) -> Field:
    """Return noise of mean 0 and deviation 1 with amplitudes that fall as frequency**-exponent."""
    spectrum = np.fft.rfftn(_white(side, generator))
    frequencies = np.meshgrid(
        np.fft.fftfreq(side), np.fft.fftfreq(side), np.fft.rfftfreq(side), indexing="ij", sparse=True
    )
    squared = sum(part**2 for part in frequencies)
    spectrum *= (squared + side**-2.0) ** (-exponent / 2)
    spectrum[0, 0, 0] = 0.0
    field = np.fft.irfftn(spectrum, s=(side,) * 3, axes=(0, 1, 2))
    return (field / max(float(field.std()), 1e-12)).astype(np.float32)


def _white(side: int, generator: np.random.Generator) -> Field:
    return generator.standard_normal((side,) * 3, dtype=np.float32)


def _lattice(side: int) -> list[NDArray[np.float64]]:
    return list(np.meshgrid(*[np.arange(side, dtype=np.float64)] * 3, indexing="ij"))


def _from_zero_to_one(field: Field) -> Field:
    low, high = float(field.min()), float(field.max())
    return ((field - low) / max(high - low, 1e-12)).astype(np.float32)
