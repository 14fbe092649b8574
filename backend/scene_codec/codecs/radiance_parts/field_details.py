"""What `inspect` says of every radiance field, whatever its codec."""

from __future__ import annotations

from typing import Any

from scene_codec.radiance.scene_domain import SceneDomain


def space_details(domain: SceneDomain) -> dict[str, Any]:
    """Return what is worth knowing of the space that a field lives in."""
    return {
        "space": "world" if domain.ndc is None else "forward-facing",
        "near": domain.near,
        "far": domain.far,
        "background": "white" if domain.white_background else "black",
    }


def quality_details(hundredths: tuple[int, int]) -> dict[str, float | None]:
    """Return the qualities that a file claims, in decibels, None where nothing was measured.

    hundredths : of a decibel, see `claims`
    """
    to_field, to_pictures = (None if value < 0 else value / 100 for value in hundredths)
    return {"psnr_to_field": to_field, "psnr_to_training_pictures": to_pictures}
