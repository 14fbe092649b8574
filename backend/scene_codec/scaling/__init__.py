"""Where jobs run and where their results are kept; knows nothing of meshes or codecs."""
