"""A ball with bands and highlights on a grid, with any shader: a field whose pictures are not plain."""

import torch
from voxel_files import draw

from scene_codec.radiance.scene_domain import SceneDomain
from scene_codec.voxel_fields.grid_model import GridModel, GridStep
from scene_codec.voxel_fields.node_lattice import NodeIndex, NodeLattice
from scene_codec.voxel_fields.shading import HarmonicShader, NetworkShader, PlainShader
from scene_codec.voxel_fields.voxel_model import DensityRule, Limits

DOMAIN = SceneDomain(near=0.5, far=6.0, white_background=True, low=(-1.0,) * 3, high=(1.0,) * 3)


def network(features, hidden=16, octaves=2):
    inputs = NetworkShader.first_inputs(features, octaves, None, residual=False)
    sizes = [(inputs, hidden), (hidden, 3)]
    layers = [
        (torch.randn(out, into, generator=draw(into)) / into**0.5, torch.randn(out, generator=draw(out)))
        for into, out in sizes
    ]
    return NetworkShader(tuple(layers), features, octaves)


SHADERS = {"network": network(6), "harmonics": HarmonicShader(), "plain": PlainShader()}


def ball(shader=None, nodes=24, *, softplus=True, size=1.0):
    """Return a ball of radius 0.6 times `size`; nodes outside of it are not held."""
    shader = shader or SHADERS["network"]
    lattice = NodeLattice((nodes, nodes + 1, nodes + 3), (-1.0,) * 3, (1.0,) * 3)
    place = lattice.positions(torch.arange(lattice.nodes))
    inside = 0.6 * size - place.norm(dim=1)
    held = inside > -2.5 * max(lattice.voxel)
    place, inside = place[held], inside[held]
    waves = torch.randn(3, shader.features, generator=draw(7))
    features = (place @ waves * 3.0).sin()
    if isinstance(shader, HarmonicShader):
        features = features * 0.2
    return GridModel(
        index=NodeIndex.of_mask(lattice, held),
        raw_density=(inside / max(lattice.voxel) * 6.0).clamp(-6.0, 12.0)[:, None]
        + (16.0 if softplus else 0.0),
        features=features,
        shader=shader,
        rule=DensityRule(softplus=softplus, shift=-16.0 if softplus else 0.0, scale=4.0),
        step=GridStep(0.5 * min(lattice.voxel)),
        limits=Limits(alpha=1e-4, weight=1e-4, dark=1e-3),
    )
