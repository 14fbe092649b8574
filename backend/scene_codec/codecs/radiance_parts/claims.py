"""What files of radiance fields claim about themselves, which no decoding confirms."""

from __future__ import annotations

MOST_HUNDREDTHS = 20_000
"""Of a decibel: fields that show the same."""

MAX_SOURCE_PARAMETERS = 1 << 40


def fault_of_claims(hundredths: tuple[int, int], source_parameters: int) -> str | None:
    """Return what no encoder can have claimed, or None.

    hundredths : qualities in hundredths of a decibel, -1 when not measured
    source_parameters : numbers that were trained
    """
    if not all(-1 <= quality <= MOST_HUNDREDTHS for quality in hundredths):
        return f"a quality of {hundredths} hundredths of a decibel"
    if not 0 <= source_parameters <= MAX_SOURCE_PARAMETERS:
        return f"{source_parameters} numbers before"
    return None
