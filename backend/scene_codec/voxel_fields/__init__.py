"""Radiance fields whose values lie on grids: what they are, how they are read, seen and trained."""
