"""What the codecs for volumes have in common: descriptions of grids, ranges and odd values."""
