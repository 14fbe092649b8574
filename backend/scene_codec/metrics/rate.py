"""Compares two rate-distortion curves by one number."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator


def bjontegaard_rate(
    anchor: Sequence[tuple[float, float]], candidate: Sequence[tuple[float, float]]
) -> float:
    """Return the candidate's mean rate change against the anchor at equal distortion: -0.3 is 30 % less.

    Each curve is a list of (bytes, distortion) pairs, at least two, in any order; lower distortion is better.
    The mean of the difference of log rates over the distortions (on a log scale) that both curves reach,
    piecewise cubic (pchip) as in the Joint Video Experts Team's later spreadsheets, after Bjontegaard,
    VCEG-M33, 2001.

    Raises `ValueError` when a curve is not monotone or the two share no range of distortion.
    """
    first, second = _curve(anchor), _curve(candidate)
    low = max(first[0][0], second[0][0])
    high = min(first[0][-1], second[0][-1])
    if not low < high:
        raise ValueError("The curves share no range of distortion.")
    areas = [float(PchipInterpolator(*curve).integrate(low, high)) for curve in (first, second)]
    return float(np.exp((areas[1] - areas[0]) / (high - low)) - 1.0)


def _curve(points: Sequence[tuple[float, float]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return log distortions, ascending, and their log rates."""
    table = np.array(points, dtype=np.float64).reshape(-1, 2)
    if len(table) < 2 or not (np.isfinite(table).all() and (table > 0.0).all()):
        raise ValueError("A curve needs at least two points with positive rates and distortions.")
    logs = np.log(table[np.argsort(table[:, 1])])
    if (np.diff(logs[:, 1]) <= 0.0).any() or (np.diff(logs[:, 0]) >= 0.0).any():
        raise ValueError("A curve must lose distortion with every byte it gains.")
    return logs[:, 1], logs[:, 0]
