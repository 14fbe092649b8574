"""Dense and sparse grids of values: the plain data, their files, and blocks with margins."""
