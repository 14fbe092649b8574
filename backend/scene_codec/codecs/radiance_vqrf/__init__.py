"""Codec of radiance fields on grids: what can be left out is, and the rest is rounded against the rate."""
