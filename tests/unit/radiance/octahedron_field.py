"""A radiance network that is known in closed form: a solid octahedron of one colour."""

import torch

from scene_codec.networks.radiance_mlp import RadianceMlp
from scene_codec.networks.radiance_shape import RadianceShape

RADIUS = 0.6
STEEPNESS = 400.0
COLOUR = (0.8, 0.3, 0.1)


def octahedron_network(radius=RADIUS, steepness=STEEPNESS, colour=COLOUR):
    """Return a network with raw density `steepness * (radius - |x| - |y| - |z|)` and a constant colour."""
    shape = RadianceShape(position_octaves=0, direction_octaves=0, trunk=(6,), view=(4,))
    network = RadianceMlp(shape).requires_grad_(False)
    network.trunk[0].weight.copy_(torch.cat([torch.eye(3), -torch.eye(3)]))
    network.trunk[0].bias.zero_()
    network.density.weight.fill_(-steepness)
    network.density.bias.fill_(steepness * radius)
    network.colour.weight.zero_()
    network.colour.bias.copy_(torch.tensor(colour).logit())
    return network


def octahedron_density(positions, radius=RADIUS, steepness=STEEPNESS):
    """Return the density (n,) that the network has at positions (n, 3)."""
    return (steepness * (radius - positions.abs().sum(dim=1))).relu()
