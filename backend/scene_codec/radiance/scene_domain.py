"""The space that a radiance field lives in, and what it expects of its cameras."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class SceneDomain:
    """What is needed to render a field besides the field itself.

    near, far : where rays begin and end, in units of their directions; 0 and 1 in normalised device
        coordinates
    ndc : (2 f / width, 2 f / height) of the captured pictures when the field lives in the normalised device
        coordinates of a forward-facing scene, None when it lives in world space
    white_background : whether what is behind the scene is white; black otherwise
    corner_width : see `cameras.camera_rays`
    low, high : corners of the box outside of which there is nothing, in the field's space
    """

    near: float
    far: float
    ndc: tuple[float, float] | None = None
    white_background: bool = False
    corner_width: int = 0
    low: tuple[float, float, float] = (-2.0, -2.0, -2.0)
    high: tuple[float, float, float] = (2.0, 2.0, 2.0)
