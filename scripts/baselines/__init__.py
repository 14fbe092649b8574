"""Other people's codecs, measured on the same meshes with the same metrics."""
