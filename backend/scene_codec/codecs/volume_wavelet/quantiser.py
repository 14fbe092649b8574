"""Coefficients to integers and back: one step for a whole grid, such that all bands harm voxels alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scene_codec.codecs.volume_wavelet.tile_coding import TileSymbols
from scene_codec.volumes.lifting_wavelet import FloatArray, Subbands, band_norm

ROUNDING = 0.36
"""A magnitude of n to n + 1 steps becomes n below n + 0.64: the rate falls faster than the error rises."""

OFFSET_UNITS = 512
"""Reconstruction offsets are stored as whole 512ths of a step."""

LARGEST_SYMBOL = 2**29


@dataclass(frozen=True)
class Quantiser:
    """Steps and reconstruction offsets of one grid.

    step : in units of the transformed values; the error of a voxel is about a third of it
    offsets : how much nearer to zero than n steps a coefficient of magnitude n lies in the mean, for n = 1
        and for n > 1, in 512ths
    """

    step: float
    offsets: tuple[int, int] = (0, 0)

    def step_of(self, level: int, orientation: str) -> np.float32:
        """Return the step of a band."""
        return np.float32(self.step / band_norm(level, orientation))

    def symbols(self, bands: Subbands) -> TileSymbols:
        """Return a tile's coefficients in steps."""
        details = tuple(
            {name: _dead_zone(band, self.step_of(level, name)) for name, band in level_bands.items()}
            for level, level_bands in enumerate(bands.details)
        )
        base = np.rint(bands.base / self._base_step(len(details)))
        return TileSymbols(base.clip(-LARGEST_SYMBOL, LARGEST_SYMBOL).astype(np.int32), details)

    def coefficients(self, symbols: TileSymbols) -> Subbands:
        """Return the coefficients that symbols stand for."""
        details = tuple(
            {name: self._reconstructed(band, self.step_of(level, name)) for name, band in level_bands.items()}
            for level, level_bands in enumerate(symbols.details)
        )
        return Subbands(symbols.base.astype(np.float32) * self._base_step(len(details)), details)

    def _base_step(self, levels: int) -> np.float32:
        return self.step_of(levels - 1, "LLL") if levels else np.float32(self.step)

    def _reconstructed(self, symbols: NDArray[np.int32], step: np.float32) -> FloatArray:
        """Return symbols times the step, moved towards zero by the offsets."""
        values = symbols.astype(np.float32)
        ones, more = (np.float32(offset / OFFSET_UNITS) for offset in self.offsets)
        magnitude = np.abs(symbols)
        inward = np.where(magnitude > 1, more, np.where(magnitude == 1, ones, np.float32(0.0)))
        result: FloatArray = (values - np.sign(values) * inward) * step
        return result


def _dead_zone(band: FloatArray, step: np.float32) -> NDArray[np.int32]:
    """Return a band in steps, rounded with a wider zero."""
    magnitude = np.floor(np.abs(band) * (np.float32(1.0) / step) + np.float32(ROUNDING))
    magnitude = magnitude.clip(0, LARGEST_SYMBOL)
    symbols: NDArray[np.int32] = np.copysign(magnitude, band).astype(np.int32)
    return symbols


def fitted_offsets(tiles: list[Subbands], quantiser: Quantiser) -> tuple[int, int]:
    """Return the offsets that centre the reconstruction of some tiles."""
    shortfall, count = np.zeros(2), np.zeros(2)
    for bands in tiles:
        symbols = quantiser.symbols(bands)
        for level, level_bands in enumerate(bands.details):
            for name, band in level_bands.items():
                magnitude = np.abs(symbols.details[level][name])
                in_steps = np.abs(band) / quantiser.step_of(level, name)
                for slot, chosen in enumerate((magnitude == 1, magnitude > 1)):
                    shortfall[slot] += float((magnitude[chosen] - in_steps[chosen]).sum())
                    count[slot] += int(chosen.sum())
    means = shortfall / np.maximum(count, 1.0)
    ones, more = (int(value) for value in np.rint(means * OFFSET_UNITS).clip(-128, 127))
    return ones, more


def squared_error(tiles: list[Subbands], quantiser: Quantiser) -> float:
    """Return the sum of squared voxel errors that quantisation makes of some tiles, from coefficients."""
    total = 0.0
    for bands in tiles:
        back = quantiser.coefficients(quantiser.symbols(bands))
        for level, level_bands in enumerate(bands.details):
            for name, band in level_bands.items():
                error = np.square(band - back.details[level][name], dtype=np.float64).sum()
                total += band_norm(level, name) ** 2 * float(error)
        base_norm = band_norm(len(bands.details) - 1, "LLL") if bands.details else 1.0
        total += base_norm**2 * float(np.square(bands.base - back.base, dtype=np.float64).sum())
    return total
