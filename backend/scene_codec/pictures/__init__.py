"""Pictures of what a codec did: slices of volumes, before and after."""
