"""Codec mesh-surface: triangles placed for the surface they stand for."""
