"""What the statistics of a surface know beforehand, learned from meshes of free licences."""

from __future__ import annotations

import io
from functools import cache
from importlib.resources import files

import numpy as np

from scene_codec.codecs.mesh_surface.surface_models import MIXER_INPUTS, SurfaceModels
from scene_codec.entropy.adaptive_bits import BitPrior

MODEL_FILES = {1: "prior_1.npz", 2: "prior_2.npz"}
"""Published statistics by number. Files name theirs; none is ever changed or removed."""

NEWEST_PRIOR = max(MODEL_FILES)


@cache
def surface_models() -> SurfaceModels:
    """Return the models, which are the same for all surfaces."""
    return SurfaceModels()


def published_prior(number: int) -> BitPrior:
    """Return statistics as they were published."""
    data = (files(__package__) / MODEL_FILES[number]).read_bytes()
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return BitPrior(arrays["probabilities"], arrays["seen"], arrays["weights"])


@cache
def shipped_prior(number: int) -> BitPrior:
    """Return what the models of a surface begin with."""
    models = surface_models()
    return _extended(published_prior(number), BitPrior.ignorant(models.slots, models.mixers, MIXER_INPUTS))


def _extended(prior: BitPrior, ignorant: BitPrior) -> BitPrior:
    """Return statistics with those of models that came later, of which they know nothing."""
    slots, mixers = len(prior.probabilities), len(prior.weights)
    return BitPrior(
        np.concatenate([prior.probabilities, ignorant.probabilities[slots:]]),
        np.concatenate([prior.seen, ignorant.seen[slots:]]),
        np.concatenate([prior.weights, ignorant.weights[mixers:]]),
    )


def prior_bytes(prior: BitPrior) -> bytes:
    """Return statistics as they are published."""
    stream = io.BytesIO()
    np.savez_compressed(stream, probabilities=prior.probabilities, seen=prior.seen, weights=prior.weights)
    return stream.getvalue()
