"""Meshes and distance grids: files, checks, frames, fitting and surface extraction."""
