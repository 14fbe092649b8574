"""Radiance fields: cameras, posed images, rays, occupancy, volume rendering, foreign checkpoints."""
