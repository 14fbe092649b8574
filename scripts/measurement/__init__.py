"""What the scripts that measure have in common: fresh processes, provenance, and the format of results."""
