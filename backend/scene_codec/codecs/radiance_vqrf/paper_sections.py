"""Kinds of the sections of the method vqrf."""

from __future__ import annotations

MASKS, DENSITY, KEPT, INDICES, CODEBOOK, NETWORK = range(32, 38)
