"""What is measured: distances between meshes, and rate-distortion curves."""
