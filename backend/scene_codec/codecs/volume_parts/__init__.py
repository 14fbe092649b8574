"""What the codecs for volumes have in common: descriptions of grids, value ranges, values that are no numbers."""
