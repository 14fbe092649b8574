"""Points and directions of three numbers, as plain tuples.

Only operations that IEEE 754 rounds correctly, one at a time, so that encoder and decoder find the same
numbers on every machine; arrays of three are also several times slower.
"""

from __future__ import annotations

import math

Vector = tuple[float, float, float]

_SHORTEST = 1e-12


def difference(a: Vector, b: Vector) -> Vector:
    """Return a - b."""
    return (a[0] - b[0], a[1] - b[1], a[2] - b[2])


def moved(a: Vector, direction: Vector, distance: float) -> Vector:
    """Return a + distance * direction."""
    return (
        a[0] + distance * direction[0],
        a[1] + distance * direction[1],
        a[2] + distance * direction[2],
    )


def rounded(a: Vector) -> Vector:
    """Return the nearest whole numbers, of two the larger one."""
    return (float(math.floor(a[0] + 0.5)), float(math.floor(a[1] + 0.5)), float(math.floor(a[2] + 0.5)))


def middle(a: Vector, b: Vector) -> Vector:
    """Return the point halfway between two."""
    return (0.5 * (a[0] + b[0]), 0.5 * (a[1] + b[1]), 0.5 * (a[2] + b[2]))


def dot(a: Vector, b: Vector) -> float:
    """Return the scalar product."""
    return (a[0] * b[0] + a[1] * b[1]) + a[2] * b[2]


def cross(a: Vector, b: Vector) -> Vector:
    """Return the vector product."""
    return (a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])


def length(a: Vector) -> float:
    """Return the Euclidean norm."""
    return math.sqrt(dot(a, a))


def unit(a: Vector) -> Vector | None:
    """Return the direction of a vector, None when it has none."""
    size = length(a)
    return (a[0] / size, a[1] / size, a[2] / size) if size > _SHORTEST else None


def cosine(a: Vector, corner: Vector, b: Vector) -> float:
    """Return the cosine of the angle at `corner` between two points, 1 when one of them lies on it."""
    first, second = difference(a, corner), difference(b, corner)
    squared = dot(first, first) * dot(second, second)
    return dot(first, second) / math.sqrt(squared) if squared > 0.0 else 1.0
