"""Rate-distortion curves of meshes: bytes against point-to-surface error, and what tables say of them.

A curve goes through the settings that no other one beats, straight between them in logarithms, and ends with
them: nothing is extrapolated. Where settings lie close, one above the line between its neighbours is passed
over, since a setting between those would do better; where they lie further apart a curve may bulge or drop.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scene_codec.metrics.rate import bjontegaard_rate

ERRORS = (1.0e-3, 1.4e-3, 2.0e-3, 2.8e-3, 4.0e-3, 5.6e-3, 8.0e-3)
"""Point-to-surface errors at which bytes are compared; BD-rates are between the first and the last."""

ANCHOR = "draco-hull"

SIZES = (500, 1000, 2000, 3000, 5000)
"""Bytes of the anchor at whose errors others are compared with it, too, beyond `ERRORS` as well."""

_CLOSE = 1.5
"""Settings are close when their bytes differ by less than this factor."""

_SECONDS_ERROR = 2.0e-3
"""Seconds and memory are those of the setting nearest to this error."""

Point = dict[str, Any]
Curve = list[tuple[float, float]]
"""Error, ascending, and bytes, descending."""

ByMesh = Mapping[str, Curve]


@dataclass(frozen=True)
class Ratio:
    """Bytes of one contender to those of another at one error of one mesh."""

    mesh: str
    error: float
    ratio: float


def curve(points: Iterable[Point]) -> Curve:
    """Return the lower hull of settings: those that no other one beats in both bytes and error.

    Of three with similar bytes the middle one is passed over when it lies above the line between the others.
    """
    found: Curve = []
    for size, error in sorted((float(point["bytes"]), float(point["point_to_surface"])) for point in points):
        if error > 0.0 and (not found or error < found[0][0]):
            found.insert(0, (error, size))
    return _without(found, lambda size, between, factor: size >= between and factor < _CLOSE)


def thinned(own: Curve, tolerance: float = 0.005) -> Curve:
    """Return a curve without settings that the others tell within this part of their bytes."""
    return _without(list(own), lambda size, between, factor: abs(between / size - 1.0) <= tolerance)


def _without(found: Curve, passed_over: Callable[[float, float, float], bool]) -> Curve:
    """Return a curve without settings that are passed over, asked again after each.

    passed_over : gets the bytes of a setting, those of the line between its neighbours, and the factor
        between the bytes of these
    """
    index = 1
    while index < len(found) - 1:
        (_, most), (error, size), (_, least) = found[index - 1 : index + 2]
        between = bytes_at([found[index - 1], found[index + 1]], error)
        if between is not None and passed_over(size, between, most / least):
            del found[index]
            index = max(index - 1, 1)
        else:
            index += 1
    return found


def bytes_at(own: Curve, error: float) -> float | None:
    """Return the bytes of a curve at an error, None beyond its ends."""
    if not own or not own[0][0] <= error <= own[-1][0]:
        return None
    errors, sizes = zip(*own, strict=True)
    return math.exp(float(np.interp(math.log(error), np.log(errors), np.log(sizes))))


def part(own: Curve, low: float, high: float) -> Curve:
    """Return a curve between two errors that it reaches, its ends interpolated."""
    inner = [point for point in own if low < point[0] < high]
    first, last = bytes_at(own, low), bytes_at(own, high)
    assert first is not None
    assert last is not None
    return [(low, first), *inner, (high, last)]


def rate_change(anchor: Curve, candidate: Curve) -> float | None:
    """Return the candidate's BD-rate against the anchor; None when they share no part of the errors."""
    if not anchor or not candidate:
        return None
    low = max(ERRORS[0], anchor[0][0], candidate[0][0])
    high = min(ERRORS[-1], anchor[-1][0], candidate[-1][0])
    if not low < high:
        return None
    rates = [[(size, error) for error, size in part(own, low, high)] for own in (anchor, candidate)]
    return bjontegaard_rate(*rates)


def ratios(anchor: ByMesh, candidate: ByMesh, errors: Sequence[float] = ERRORS) -> list[Ratio]:
    """Return the ratios of bytes wherever both have a curve at an error."""
    found = []
    for mesh, own in candidate.items():
        for error in errors:
            size, rival = bytes_at(own, error), bytes_at(anchor.get(mesh, []), error)
            if size is not None and rival is not None:
                found.append(Ratio(mesh, error, size / rival))
    return found


def error_at(own: Curve, size: float) -> float | None:
    """Return the error of a curve at so many bytes, None beyond its ends."""
    if not own or not own[-1][1] <= size <= own[0][1]:
        return None
    errors, sizes = zip(*reversed(own), strict=True)
    return math.exp(float(np.interp(math.log(size), np.log(sizes), np.log(errors))))


def ratios_at_bytes(anchor: ByMesh, candidate: ByMesh, size: float) -> list[Ratio]:
    """Return the ratios of bytes at the errors at which each mesh takes the anchor so many."""
    found = []
    for mesh, own in candidate.items():
        error = error_at(anchor.get(mesh, []), size)
        bytes_there = bytes_at(own, error) if error is not None else None
        if error is not None and bytes_there is not None:
            found.append(Ratio(mesh, error, bytes_there / size))
    return found


def set_curve(points: Mapping[str, Sequence[Point]], shared: bool) -> Curve:
    """Return mean bytes and mean errors of a whole set.

    shared : the meshes lie in one file, so that each setting is one point; else every mesh has a file of its
        own, and settings are mixed so that no other choice has fewer bytes at the same mean error
    """
    if shared:
        by_setting: dict[str, list[Point]] = {}
        for point in (point for own in points.values() for point in own):
            by_setting.setdefault(point["setting"], []).append(point)
        return curve(
            {name: statistics.fmean(point[name] for point in own) for name in ("bytes", "point_to_surface")}
            for own in by_setting.values()
            if len(own) == len(points)
        )
    curves = [np.array(curve(own)) for own in points.values()]
    means = []
    for worth in np.geomspace(1e2, 1e9, 400):
        # The setting of a mesh with the least bytes + worth * error.
        chosen = np.array([own[np.argmin(own[:, 1] + worth * own[:, 0])] for own in curves if len(own)])
        error, size = chosen.mean(axis=0)
        means.append({"bytes": size, "point_to_surface": error})
    return curve(means)


def median_curve(anchor: ByMesh, candidate: ByMesh, errors: Sequence[float]) -> Curve:
    """Return the geometric mean of bytes over the meshes at each error that half of the anchor's reach.

    Where a candidate lacks some of the anchor's meshes, its mean is that of the anchor times the geometric
    mean of the ratios that there are: all curves are of the same meshes.
    """
    found: Curve = []
    for error in errors:
        known = [size for own in anchor.values() if (size := bytes_at(own, error)) is not None]
        own_ratios = [item.ratio for item in ratios(anchor, candidate, [error])]
        if known and 2 * len(own_ratios) >= len(known) and 2 * len(known) >= len(anchor):
            mean = statistics.geometric_mean(known) * statistics.geometric_mean(own_ratios)
            found.append((error, mean))
    return found


def contender_row(name: str, points: Mapping[str, Sequence[Point]], curves: Mapping[str, ByMesh]) -> Point:
    """Return the row of one contender: bytes, ratios to the anchor, BD-rates to every other one, seconds."""
    anchor, own = curves.get(ANCHOR, {}), curves[name]
    found = [] if name == ANCHOR else ratios(anchor, own)
    row: Point = {"label": name, "objects": len(points)}
    for error, size in median_curve(anchor or own, own, ERRORS):
        row[bytes_field(error)] = size
    if found:
        row["ratio_median"] = statistics.median(item.ratio for item in found)
        row["ratio_worst"] = max(item.ratio for item in found)
    for rival in (rival for rival in curves if rival != name):
        changes = rate_changes(curves[rival], own)
        if changes:
            row[f"bd_rate_{field_name(rival)}"] = statistics.median(changes.values())
            row[f"bd_mean_{field_name(rival)}"] = statistics.fmean(changes.values())
    return row | cost_fields(points)


def rate_changes(anchor: ByMesh, candidate: ByMesh) -> dict[str, float]:
    """Return the BD-rates of the meshes where both share errors."""
    changes = {mesh: rate_change(anchor.get(mesh, []), own) for mesh, own in candidate.items()}
    return {mesh: change for mesh, change in changes.items() if change is not None}


def cost_fields(points: Mapping[str, Sequence[Point]]) -> Point:
    """Return medians of processor seconds and the largest memory at one error."""
    nearest = [
        min(own, key=lambda point: abs(math.log(max(point["point_to_surface"], 1e-9) / _SECONDS_ERROR)))
        for own in points.values()
        if own
    ]
    fields: Point = {}
    for field in ("encode_cpu_seconds", "decode_cpu_seconds"):
        known = [point[field] for point in nearest if point.get(field) is not None]
        if known:
            fields[field] = statistics.median(known)
    if nearest:
        fields["added_gb"] = max(point["added_gb"] for point in nearest)
    return fields


def bytes_field(error: float) -> str:
    """Return the field of a row for the bytes at an error."""
    return f"bytes_at_error_{round(error * 1e4):03d}"


def field_name(contender: str) -> str:
    """Return a contender's name as part of the name of a field."""
    return "".join(letter if letter.isalnum() else "_" for letter in contender.lower())
