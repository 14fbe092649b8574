"""Python environments that the set-up commands make for themselves; standard library only."""
