"""The sections of a radiance-vqrf file and their bytes, written and read side by side.

| kind | where | content |
|---|---|---|
| 16 FIELD | object | lattice, rules, shader, space, what was reached, see `stored_field` |
| 17 NODES | object | which nodes are held, see `entropy.bit_grid` |
| 18 DENSITY | object | a float32 step, then the densities in steps, see `entropy.node_values` |
| 19 FEATURES | object | a float32 step, the float16 rows of the map to features, the coordinates in steps |
| 20 NETWORK | object | layers of the shader, see `radiance_parts.weight_coding`; if it is a network |

With the method vqrf FIELD is followed by the sections of `paper_syntax`.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from scene_codec.bitstream import Section
from scene_codec.codecs.radiance_parts.weight_coding import IntegerLayer, decode_layers, encode_layers
from scene_codec.codecs.radiance_vqrf import paper_sections
from scene_codec.codecs.radiance_vqrf.stored_field import FieldHeader, read_header
from scene_codec.entropy.bit_grid import decode_bit_grid, encode_bit_grid
from scene_codec.entropy.node_values import decode_node_values, encode_node_values
from scene_codec.errors import CorruptFileError

PAYLOAD_VERSION = 1

FIELD = 16
NODES = 17
DENSITY = 18
FEATURES = 19
NETWORK = 20

SHARED_LABELS: dict[int, str] = {}
OBJECT_LABELS = {
    FIELD: "field",
    NODES: "held nodes",
    DENSITY: "densities",
    FEATURES: "features",
    NETWORK: "network",
    paper_sections.MASKS: "masks",
    paper_sections.DENSITY: "densities",
    paper_sections.KEPT: "kept features",
    paper_sections.INDICES: "codes",
    paper_sections.CODEBOOK: "codebook",
    paper_sections.NETWORK: "network",
}

_STEP = struct.Struct("<f")


@dataclass(frozen=True, eq=False)
class CodedField:
    """A field in integers.

    held : (x, y, z) bool
    densities : (nodes, 1) int32
    density_step : float32
    features : (nodes, coordinates) int32
    feature_step : float32
    feature_map : (coordinates, features) float16; features are coordinates @ feature_map
    layers : of the shader, none when it is no network
    """

    header: FieldHeader
    held: NDArray[np.bool_]
    densities: NDArray[np.int32]
    density_step: float
    features: NDArray[np.int32]
    feature_step: float
    feature_map: NDArray[np.float16]
    layers: tuple[IntegerLayer, ...]


def field_section(header: FieldHeader) -> Section:
    """Return the description of an object."""
    return Section(FIELD, msgspec.msgpack.encode(header))


def header_of(sections: Mapping[int, bytes]) -> FieldHeader:
    """Return the description among the sections of an object. Raises `CorruptFileError`."""
    if FIELD not in sections:
        raise CorruptFileError("The object has no description of its voxel field.")
    return read_header(sections[FIELD])


def write_values(field: CodedField) -> list[Section]:
    """Return the other sections of an object of the method rate."""
    density = _STEP.pack(field.density_step) + encode_node_values(field.densities, field.held)
    features = _STEP.pack(field.feature_step) + field.feature_map.astype("<f2").tobytes()
    features += encode_node_values(field.features, field.held)
    sections = [
        Section(NODES, encode_bit_grid(field.held)),
        Section(DENSITY, density),
        Section(FEATURES, features),
    ]
    if field.layers:
        sections.append(Section(NETWORK, encode_layers(field.layers)))
    return sections


def read_field(sections: Mapping[int, bytes]) -> CodedField:
    """Read the sections of an object of the method rate. Raises `CorruptFileError`."""
    header = header_of(sections)
    sizes = header.shader.sizes
    if set(sections) != {FIELD, NODES, DENSITY, FEATURES, *([NETWORK] if sizes else [])}:
        raise CorruptFileError("The sections of a voxel field are not those that its description needs.")
    held = decode_bit_grid(sections[NODES], header.shape)
    if int(held.sum()) != header.nodes:
        raise CorruptFileError(f"A voxel field holds {int(held.sum())} nodes and not {header.nodes}.")
    density_step, density = _step(sections[DENSITY])
    feature_step, rest = _step(sections[FEATURES])
    shape = (header.coordinates, header.shader.features)
    length = 2 * math.prod(shape)
    if len(rest) < length:
        raise CorruptFileError("The map of a voxel field's features is cut off.")
    feature_map = np.frombuffer(rest[:length], "<f2").reshape(shape)
    if not np.isfinite(feature_map).all():
        raise CorruptFileError("The map of a voxel field's features is not finite.")
    return CodedField(
        header=header,
        held=held,
        densities=decode_node_values(density, held, 1),
        density_step=density_step,
        features=decode_node_values(rest[length:], held, header.coordinates),
        feature_step=feature_step,
        feature_map=feature_map,
        layers=tuple(decode_layers(sections[NETWORK], sizes)) if sizes else (),
    )


def _step(data: bytes) -> tuple[float, bytes]:
    """Return the quantisation step in front of values, and what follows. Raises `CorruptFileError`."""
    if len(data) < _STEP.size:
        raise CorruptFileError("Values of a voxel field are cut off.")
    step = float(_STEP.unpack_from(data)[0])
    if not 0.0 < step < 1e6:
        raise CorruptFileError(f"Values of a voxel field have steps of {step:g}.")
    return step, data[_STEP.size :]
