"""Fits the weights of a logistic model."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_ITERATIONS = 25
_HALVINGS = 6
_RIDGE = 0.05
_ENOUGH = 1e-4

_Floats = NDArray[np.float64]


def fit_logistic(features: NDArray[np.float32], outcomes: NDArray[np.generic]) -> _Floats:
    """Return the weights (f,) with which `weights @ features` are the log odds of the outcomes.

    features : (f, n)
    outcomes : (n,) 0 or 1
    Newton's method on the ridge-regularised likelihood, steps halved until they gain; features that never
    vary keep a weight of zero.
    """
    # Equal columns are common where features are small whole numbers: each is worked on once.
    keys = np.random.default_rng(0).random(len(features)) @ features.astype(np.float64)
    _, first, place = np.unique(keys, return_index=True, return_inverse=True)
    rows = features[:, first].astype(np.float64)
    counts = np.bincount(place, minlength=len(first)).astype(np.float64)
    hits = np.bincount(place, weights=outcomes.astype(np.float64), minlength=len(first)).astype(np.float64)
    weights = np.zeros(len(rows))
    loss = _loss(weights, rows, counts, hits)
    for _ in range(_ITERATIONS):
        chances = 0.5 + 0.5 * np.tanh(0.5 * (weights @ rows))
        gradient = rows @ (hits - counts * chances) - _RIDGE * weights
        curvature = (rows * (counts * chances * (1.0 - chances))) @ rows.T + _RIDGE * np.eye(len(rows))
        change = np.linalg.solve(curvature, gradient)
        for _ in range(_HALVINGS):
            following = _loss(weights + change, rows, counts, hits)
            if following <= loss:
                break
            change = 0.5 * change
        else:
            break
        weights, gained, loss = weights + change, loss - following, following
        if gained < _ENOUGH * loss:
            break
    return weights


def _loss(weights: _Floats, rows: _Floats, counts: _Floats, hits: _Floats) -> float:
    """Return the negative log-likelihood with its penalty."""
    sums = weights @ rows
    return float(counts @ np.logaddexp(0.0, sums) - hits @ sums + 0.5 * _RIDGE * weights @ weights)
