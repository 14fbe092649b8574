"""One folder per method, each ignorant of the others."""
