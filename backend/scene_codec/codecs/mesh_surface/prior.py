"""What the statistics of a surface know beforehand, learned from meshes of free licences."""

from __future__ import annotations

import io
from functools import cache
from importlib.resources import files

import numpy as np

from scene_codec.codecs.mesh_surface.surface_models import SurfaceModels
from scene_codec.entropy.adaptive_bits import BitPrior

MODEL_FILES = {1: "prior_1.npz"}
"""Published statistics by number. Files name theirs; none is ever changed or removed."""

NEWEST_PRIOR = max(MODEL_FILES)


@cache
def surface_models() -> SurfaceModels:
    """Return the models, which are the same for all surfaces."""
    return SurfaceModels()


@cache
def shipped_prior(number: int) -> BitPrior:
    """Return published statistics."""
    data = (files(__package__) / MODEL_FILES[number]).read_bytes()
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        prior = BitPrior(arrays["probabilities"], arrays["seen"], arrays["weights"])
    models = surface_models()
    assert len(prior.probabilities) == models.slots
    assert len(prior.weights) == models.mixers
    return prior


def prior_bytes(prior: BitPrior) -> bytes:
    """Return statistics as they are published."""
    stream = io.BytesIO()
    np.savez_compressed(stream, probabilities=prior.probabilities, seen=prior.seen, weights=prior.weights)
    return stream.getvalue()
