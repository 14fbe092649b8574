"""The `scene-codec` command: parses, calls the public API, prints. Nothing else happens here."""
