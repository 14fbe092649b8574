"""The space of a scene as a checkpoint of our own training states it, checked number by number."""

from __future__ import annotations

from pathlib import Path

from scene_codec.errors import UnsupportedSceneError
from scene_codec.radiance.restricted_pickle import as_mapping
from scene_codec.radiance.scene_domain import SceneDomain

DOMAIN_KEY = "scene_domain"
"""The entry of a checkpoint with the fields of `SceneDomain`; other programs pass over it."""

_FARTHEST = 1e9
_WIDEST = 1 << 15


def stored_domain(path: Path, value: object) -> SceneDomain | None:
    """Return what a checkpoint says under `DOMAIN_KEY`, None where it says nothing.

    Raises `UnsupportedSceneError` for anything but the numbers that belong there.
    """
    if value is None:
        return None
    entries = as_mapping(value) or {}
    near, far = _number(path, entries.get("near")), _number(path, entries.get("far"))
    low, high = _numbers(path, entries.get("low"), 3), _numbers(path, entries.get("high"), 3)
    ndc = None if entries.get("ndc") is None else _numbers(path, entries["ndc"], 2)
    white, corner_width = entries.get("white_background"), entries.get("corner_width")
    if not isinstance(white, bool) or type(corner_width) is not int or not 0 <= corner_width <= _WIDEST:
        raise _wrong(path)
    if not 0.0 <= near < far or any(start >= end for start, end in zip(low, high, strict=True)):
        raise _wrong(path)
    if ndc is not None and min(ndc) <= 0.0:
        raise _wrong(path)
    return SceneDomain(
        near=near,
        far=far,
        ndc=None if ndc is None else (ndc[0], ndc[1]),
        white_background=white,
        corner_width=corner_width,
        low=(low[0], low[1], low[2]),
        high=(high[0], high[1], high[2]),
    )


def _numbers(path: Path, value: object, count: int) -> tuple[float, ...]:
    if not isinstance(value, tuple | list) or len(value) != count:
        raise _wrong(path)
    return tuple(_number(path, number) for number in value)


def _number(path: Path, value: object) -> float:
    if type(value) not in (int, float):
        raise _wrong(path)
    assert isinstance(value, int | float)
    if not abs(value) <= _FARTHEST:  # also what is no number
        raise _wrong(path)
    return float(value)


def _wrong(path: Path) -> UnsupportedSceneError:
    return UnsupportedSceneError(
        f"'{path.name}' has a {DOMAIN_KEY} that describes no space. Train it again, or delete that entry."
    )
