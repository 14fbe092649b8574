"""Radiance fields with densities and features on grids: what they are, how they are read, seen and trained."""
