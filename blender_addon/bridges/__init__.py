"""Between Blender's data and plain arrays and records."""
