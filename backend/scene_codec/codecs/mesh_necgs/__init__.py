"""Sets of meshes as latents of one shared decoder, after NeCGS (arXiv 2405.15034)."""
