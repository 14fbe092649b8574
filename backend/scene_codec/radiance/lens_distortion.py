"""Lenses that bend straight lines: the model of OpenCV (Brown 1966), and its inverse by Newton's method."""

from __future__ import annotations

from dataclasses import astuple, dataclass

import torch
from torch import Tensor

_ITERATIONS = 12
_CLOSE = 1e-6
"""Error in units of the focal length below which a place counts as found."""


@dataclass(frozen=True, kw_only=True)
class LensDistortion:
    """How far from where a pinhole would show it a lens shows a point.

    k1, k2, k3 : radial, factors of the second, fourth and sixth power of the distance from the axis
    p1, p2 : tangential
    """

    k1: float = 0.0
    k2: float = 0.0
    k3: float = 0.0
    p1: float = 0.0
    p2: float = 0.0

    def values(self) -> tuple[float, float, float, float, float]:
        """Return k1, k2, k3, p1, p2."""
        k1, k2, k3, p1, p2 = astuple(self)
        return k1, k2, k3, p1, p2


def distorted(places: Tensor, lens: Tensor) -> Tensor:
    """Return where a lens shows what a pinhole shows at places.

    places : (n, 2) to the right and down, in units of the focal length
    lens : (n, 5) or (5,), see `LensDistortion.values`
    """
    return _distorted(places, lens)[0]


def straightened(shown: Tensor, lens: Tensor) -> Tensor:
    """Return where a pinhole would show what a lens shows at places, see `distorted`."""
    places = shown
    for _ in range(_ITERATIONS):
        found, by_x, by_y = _distorted(places, lens)
        miss = found - shown
        if float(miss.abs().max()) < 0.01 * _CLOSE:
            break
        area = by_x[:, 0] * by_y[:, 1] - by_x[:, 1] * by_y[:, 0]
        area = torch.where(area.abs() < 1e-6, 1e-6, area)
        step_x = (by_y[:, 1] * miss[:, 0] - by_y[:, 0] * miss[:, 1]) / area
        step_y = (by_x[:, 0] * miss[:, 1] - by_x[:, 1] * miss[:, 0]) / area
        places = places - torch.stack([step_x, step_y], dim=1)
    return places


def is_invertible(shown: Tensor, lens: LensDistortion) -> bool:
    """Tell whether something is seen at all places (n, 2) that a lens shows, and at each of them once."""
    values = torch.tensor(lens.values(), dtype=torch.float64)
    places = straightened(shown.double(), values)
    found, by_x, by_y = _distorted(places, values)
    upright = by_x[:, 0] * by_y[:, 1] - by_x[:, 1] * by_y[:, 0] > 0.0
    return bool(((found - shown).abs().amax(dim=1) < _CLOSE).all() and upright.all())


def _distorted(places: Tensor, lens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return where a lens shows places (n, 2), and the change (n, 2) by each of both coordinates."""
    k1, k2, k3, p1, p2 = lens.unbind(-1)
    x, y = places.unbind(1)
    square = x * x + y * y
    radial = 1.0 + square * (k1 + square * (k2 + square * k3))
    steeper = 2.0 * (k1 + square * (2.0 * k2 + square * 3.0 * k3))
    shown_x = x * radial + 2.0 * p1 * x * y + p2 * (square + 2.0 * x * x)
    shown_y = y * radial + p1 * (square + 2.0 * y * y) + 2.0 * p2 * x * y
    across = x * y * steeper + 2.0 * p1 * x + 2.0 * p2 * y
    by_x = torch.stack([radial + x * x * steeper + 2.0 * p1 * y + 6.0 * p2 * x, across], dim=1)
    by_y = torch.stack([across, radial + y * y * steeper + 6.0 * p1 * y + 2.0 * p2 * x], dim=1)
    return torch.stack([shown_x, shown_y], dim=1), by_x, by_y
