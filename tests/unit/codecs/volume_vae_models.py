"""Small models for tests: nothing is trained, the rate-optimised network starts as the cosine transform."""

import numpy as np
import torch

from scene_codec.codecs.volume_vae.block_maps import CLASS_COUNT
from scene_codec.codecs.volume_vae.config import VolumeVaeSettings
from scene_codec.codecs.volume_vae.decoder import decode_volume, model_of
from scene_codec.codecs.volume_vae.encoder import encode_volume, model_sections
from scene_codec.codecs.volume_vae.model import ModelCard, pack_model, read_model
from scene_codec.networks.block_vae import BlockNetworkShape, make_network
from scene_codec.progress import Progress
from scene_codec.volumes.volume import VolumeGrid, VolumeObject

CPU = torch.device("cpu")


def rate_model(margin=0, latents=511):
    network = make_network(BlockNetworkShape("rate", margin, latents, 4), torch.Generator().manual_seed(0))
    wide = np.arange(CLASS_COUNT)[:, None] * 2 + 2
    contexts = np.clip(wide - np.arange(latents) // 40, 0, 27).astype(np.uint8)
    return read_model(pack_model(network, ModelCard(name="cosines"), contexts))


def dense_model(margin=0):
    network = make_network(BlockNetworkShape("dense", margin, 8, 16), torch.Generator().manual_seed(0))
    return read_model(pack_model(network, ModelCard(name="untrained")))


def coded(volume, model, **settings):
    """Return the sections of a volume, shared and own, by kind."""
    chosen = VolumeVaeSettings(**settings)
    sections = [*model_sections(model), *encode_volume(volume, chosen, model, Progress())]
    return {section.kind: section.payload for section in sections}


def decoded(sections):
    return decode_volume(sections, model_of(sections, CPU), Progress(), "volume")


def round_trip(values, model=None, grid=None, **settings):
    """Return the grid that comes back for values, or for a whole grid."""
    grid = VolumeGrid("density", values) if grid is None else grid
    volume = VolumeObject("volume", (grid,))
    return decoded(coded(volume, rate_model() if model is None else model, **settings)).grids[0]


def waves(shape, seed=0):
    """Return (x, y, z) float32 values between 0 and 1 with some structure."""
    generator = np.random.default_rng(seed)
    axes = np.meshgrid(*(np.arange(size) for size in shape), indexing="ij")
    total = sum(np.sin(axis * generator.uniform(0.1, 0.5) + generator.uniform(0, 6)) for axis in axes)
    noisy = total / 6 + 0.5 + 0.01 * generator.normal(size=shape)
    return np.clip(noisy, 0, 1).astype(np.float32)
