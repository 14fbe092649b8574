"""The demonstration: meshes that the project makes itself, sent through the codec and looked at."""
