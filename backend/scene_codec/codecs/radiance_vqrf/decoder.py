"""From the sections of an object back to a voxel field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch

from scene_codec.codecs.radiance_parts.row_steps import in_steps_to_values
from scene_codec.codecs.radiance_parts.weight_coding import IntegerLayer
from scene_codec.codecs.radiance_vqrf.field_parts import lattice_of, limits_of, rule_of, shader_of, step_of
from scene_codec.codecs.radiance_vqrf.paper_codec import decode_as_published
from scene_codec.codecs.radiance_vqrf.syntax import FIELD, CodedField, header_of, read_field
from scene_codec.voxel_fields.grid_model import GridModel, visible_nodes
from scene_codec.voxel_fields.node_lattice import NodeIndex
from scene_codec.voxel_fields.shading import LinearLayer
from scene_codec.voxel_fields.voxel_field import VoxelField


def decode_field(sections: Mapping[int, bytes], device: torch.device) -> VoxelField:
    """Return the radiance field of an object. Raises `CorruptFileError`."""
    header = header_of(sections)
    if header.method == "vqrf":
        others = {kind: content for kind, content in sections.items() if kind != FIELD}
        return VoxelField(decode_as_published(header, others, device), header.domain)
    return VoxelField(model_of(read_field(sections), device), header.domain)


def model_of(coded: CodedField, device: torch.device) -> GridModel:
    """Return the grid that integers stand for. Nothing is made for nodes that are not held."""
    header = coded.header
    held = torch.from_numpy(coded.held).reshape(-1)
    coordinates = torch.from_numpy(coded.features).float() * coded.feature_step
    model = GridModel(
        NodeIndex.of_mask(lattice_of(header), held),
        torch.from_numpy(coded.densities).float() * coded.density_step,
        coordinates @ torch.from_numpy(coded.feature_map.astype("float32")),
        shader_of(header.shader, float_layers(coded.layers)),
        rule_of(header),
        step_of(header),
        limits_of(header),
    ).to(device)
    return replace(model, mask=visible_nodes(model))


def float_layers(layers: Sequence[IntegerLayer]) -> tuple[LinearLayer, ...]:
    """Return layers in floating point."""
    result = []
    for layer in layers:
        bias_exponents = layer.exponents * 0 + layer.bias_exponent
        weights = in_steps_to_values(layer.weights, layer.exponents)
        biases = in_steps_to_values(layer.biases, bias_exponents)
        result.append((torch.from_numpy(weights), torch.from_numpy(biases)))
    return tuple(result)
