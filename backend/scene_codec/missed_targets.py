"""Which objects of a file did not come out as they were asked to be, in words."""

from __future__ import annotations

from typing import Any

from scene_codec.codecs.registry import codec_named
from scene_codec.reports import EncodedObject, EncodeReport

ERROR_PERCENT = "error_percent"
"""What codecs of single surfaces say of how near they came."""

_MUCH_LOST = 0.5
"""Share of a mesh's area below which what comes back is told to lack parts."""


def missed_targets(report: EncodeReport) -> list[str]:
    """Return a line for each mesh that came out further off, larger, finer or less than was asked for."""
    settings = codec_named(report.codec).settings(report.preset, report.changed)
    error, most, budget = (getattr(settings, name, None) for name in ("target_error", "target_size", "faces"))
    if most is not None or (budget is not None and "target_error" not in report.changed):
        error = None  # nobody asked for it
    lines = []
    for item in report.objects:
        reached, faces = fact_of(item, ERROR_PERCENT), fact_of(item, "faces")
        if reached is None:
            continue
        name = item.name
        if most is not None and fact_of(item, "bytes") > most:
            lines.append(f"{name}: {fact_of(item, 'bytes')} bytes are more than the {most} that were wanted.")
        elif error is not None and reached > 1.01 * error:
            lines.append(f"{name}: {reached:.2g} % is not within the {error:g} % that were wanted.")
        if budget is not None and faces > budget:
            lines.append(f"{name}: {faces} triangles are more than the {budget} that were wanted.")
        if item.area_left < _MUCH_LOST:
            share = f"{100.0 * item.area_left:.0f} %"
            lines.append(
                f"{name}: {share} of its area are left; {budget} triangles are too few for its shape."
            )
    return lines


def fact_of(item: EncodedObject, name: str) -> Any:  # noqa: ANN401 - words and numbers of a codec's choice
    """Return what the codec says of an object under a name, None if it says nothing."""
    return next((fact[name] for part in item.details.values() for fact in part if name in fact), None)
