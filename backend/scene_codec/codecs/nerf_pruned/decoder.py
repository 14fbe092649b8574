"""From the sections of an object back to a radiance field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from scene_codec.codecs.nerf_pruned.syntax import CodedField, read_field
from scene_codec.codecs.radiance_parts.row_steps import in_steps_to_values
from scene_codec.codecs.radiance_parts.weight_coding import IntegerLayer
from scene_codec.networks.radiance_mlp import RadianceMlp
from scene_codec.networks.radiance_shape import RadianceShape
from scene_codec.radiance.field import RadianceField
from scene_codec.radiance.nerf_field import NerfPairField, OccupiedNerfField
from scene_codec.radiance.occupancy import OccupancyGrid


def decode_field(sections: Mapping[int, bytes], device: torch.device) -> RadianceField:
    """Return the radiance field of an object. Raises `CorruptFileError`."""
    return field_of(read_field(dict(sections)), device)


def field_of(coded: CodedField, device: torch.device) -> RadianceField:
    """Return the field that integers stand for."""
    domain = coded.header.domain
    shapes = [stored.shape for stored in coded.header.networks]
    networks = [
        network_of(shape, layers, device) for shape, layers in zip(shapes, coded.networks, strict=True)
    ]
    if coded.cells is None:
        return NerfPairField(networks[1], networks[0], domain)
    occupied = torch.from_numpy(coded.cells).to(device)
    return OccupiedNerfField(networks[0], OccupancyGrid(occupied, domain.low, domain.high), domain)


def network_of(shape: RadianceShape, layers: Sequence[IntegerLayer], device: torch.device) -> RadianceMlp:
    """Return the network of integer layers."""
    network = RadianceMlp(shape)
    with torch.no_grad():
        for own, layer in zip(network.linear_layers().values(), layers, strict=True):
            bias_exponents = layer.exponents * 0 + layer.bias_exponent
            own.weight.copy_(torch.from_numpy(in_steps_to_values(layer.weights, layer.exponents)))
            own.bias.copy_(torch.from_numpy(in_steps_to_values(layer.biases, bias_exponents)))
    return network.requires_grad_(False).to(device)
