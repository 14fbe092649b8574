"""The plain transform codec: cosine transforms of 8 x 8 x 8 blocks, dead-zone quantisation, Zstandard."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numcodecs import Zstd
from numpy.typing import NDArray
from scipy.fft import dctn, idctn

from measurement.codec_points import Coded, Values

NAME = "DCT-8 + zstd"
WANTED_PSNR = (34.8, 40.0, 45.0, 50.2)
SIDE = 8
ROUNDING = 0.36
"""What is added before a magnitude is cut off: less than a half, as small coefficients are likelier."""

LEVEL = 19
_AXES = (1, 3, 5)

Floats = NDArray[np.float32]


def dct_codec(values: Values, psnr: float) -> Coded:
    """Code values from 0 to 1 with the step that comes closest to a PSNR.

    The search for the step counts as encoding.
    """
    blocks = _blocks(values)
    coefficients = dctn(blocks, axes=_AXES, norm="ortho", workers=1).astype(np.float32)
    step = _step_for(coefficients, psnr, values.size)
    symbols = _quantised(coefficients, step)
    data = _packed(symbols)

    def decode() -> Values:
        spectrum = _unpacked(data, symbols.shape) * np.float32(step)
        padded = idctn(spectrum, axes=_AXES, norm="ortho", workers=1)
        whole = padded.reshape([count * SIDE for count in padded.shape[::2]])
        return whole[tuple(slice(0, side) for side in values.shape)].clip(0.0, 1.0)

    return sum(map(len, data)) + 32, decode  # shape, range and step


def _blocks(values: Values) -> Floats:
    """Return values (x / 8, 8, y / 8, 8, z / 8, 8), the last ones repeated up to whole blocks."""
    padded = np.pad(values, [(0, -side % SIDE) for side in values.shape], mode="edge")
    shape = [part for side in padded.shape for part in (side // SIDE, SIDE)]
    return padded.reshape(shape).astype(np.float32)


def _quantised(coefficients: Floats, step: float) -> NDArray[np.int32]:
    magnitudes = np.floor(np.abs(coefficients) * np.float32(1.0 / step) + np.float32(ROUNDING))
    return np.copysign(magnitudes, coefficients).astype(np.int32)


def _step_for(coefficients: Floats, psnr: float, voxels: int) -> float:
    """Return the step that reaches a PSNR; coefficients have the same squared error as voxels."""
    wanted = voxels * 10.0 ** (-psnr / 10.0)
    low, high = math.log2(1e-6), math.log2(32.0)
    for _ in range(18):
        middle = 0.5 * (low + high)
        difference = _quantised(coefficients, 2.0**middle) * np.float32(2.0**middle) - coefficients
        if float(np.square(difference).sum(dtype=np.float64)) > wanted:
            high = middle
        else:
            low = middle
    return float(2.0**low)


def _packed(symbols: NDArray[np.int32]) -> list[bytes]:
    """Return the symbols frequency by frequency, mean values as differences, low and high bytes apart."""
    rows = _by_frequency(symbols)
    rows[0] = np.diff(rows[0], prepend=0)
    zigzag = ((rows << 1) ^ (rows >> 31)).astype(np.uint32)
    planes = zigzag.view(np.uint8).reshape(*zigzag.shape, 4)
    codec = Zstd(level=LEVEL)
    return [bytes(codec.encode(np.ascontiguousarray(planes[..., byte]))) for byte in range(4)]


def _unpacked(data: list[bytes], shape: tuple[int, ...]) -> NDArray[np.int32]:
    codec = Zstd(level=LEVEL)
    planes = [np.frombuffer(codec.decode(plane), np.uint8).astype(np.uint32) for plane in data]
    zigzag = sum((plane << np.uint32(8 * byte) for byte, plane in enumerate(planes)), np.uint32(0))
    rows = ((zigzag >> 1) ^ -(zigzag & 1).astype(np.int32)).astype(np.int32).reshape(SIDE**3, -1)
    rows[0] = np.cumsum(rows[0])
    ordered = np.zeros_like(rows)
    ordered[_frequencies()] = rows
    counts = shape[::2]
    return ordered.reshape(SIDE, SIDE, SIDE, *counts).transpose(3, 0, 4, 1, 5, 2)


def _by_frequency(symbols: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return symbols (512, blocks), low frequencies first."""
    rows: NDArray[Any] = symbols.transpose(1, 3, 5, 0, 2, 4).reshape(SIDE**3, -1)
    return rows[_frequencies()]


def _frequencies() -> NDArray[np.intp]:
    """Return the frequencies by the sum of their three numbers."""
    return np.argsort(np.indices((SIDE, SIDE, SIDE)).sum(axis=0).reshape(-1), kind="stable")
