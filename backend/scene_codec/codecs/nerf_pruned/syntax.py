"""The sections of a nerf-pruned file and their bytes, written and read side by side.

| kind | where | content |
|---|---|---|
| 16 FIELD | object | sizes of the networks, the space they live in, cells, what was reached |
| 17 FINE | object | layers of the network that is seen, see `weight_coding` |
| 18 COARSE | object | layers of the coarse network; present when the field is rendered as published |
| 19 CELLS | object | occupied cells, see `entropy.bit_grid`; present when there is no coarse network |
"""

from __future__ import annotations

import itertools
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from scene_codec.bitstream import Section
from scene_codec.codecs.radiance_parts.claims import fault_of_claims
from scene_codec.codecs.radiance_parts.weight_coding import IntegerLayer, decode_layers, encode_layers
from scene_codec.entropy.bit_grid import decode_bit_grid, encode_bit_grid
from scene_codec.errors import CorruptFileError
from scene_codec.networks.radiance_shape import RadianceShape
from scene_codec.radiance.scene_domain import SceneDomain

PAYLOAD_VERSION = 1

FIELD = 16
FINE = 17
COARSE = 18
CELLS = 19

SHARED_LABELS: dict[int, str] = {}
OBJECT_LABELS = {FIELD: "field", FINE: "network", COARSE: "coarse network", CELLS: "occupied cells"}

MAX_PARAMETERS = 16_000_000
MAX_WIDTH = 4096
MAX_LAYERS = 64
MAX_OCTAVES = 32
MAX_CELLS = 1 << 24
MAX_SIDE = 1 << 10
"""Most cells along an axis. Decoding adds a margin to a grid, which would be most of a long row of cells."""

_FLOATS = struct.Struct("<8f")
_LENS = struct.Struct("<2f")


class StoredShape(msgspec.Struct, array_like=True, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A `RadianceShape` as it stands in a file."""

    position_octaves: int
    direction_octaves: int
    trunk: tuple[int, ...]
    view: tuple[int, ...]
    skips: tuple[int, ...] = ()
    linear: tuple[int, ...] = ()
    bottleneck: int = 0
    bottleneck_relu: bool = False

    @staticmethod
    def of(shape: RadianceShape) -> StoredShape:
        """Return what a file says of a shape."""
        return StoredShape(**{name: getattr(shape, name) for name in StoredShape.__struct_fields__})

    @property
    def shape(self) -> RadianceShape:
        """The shape."""
        return RadianceShape(**msgspec.structs.asdict(self))


class FieldHeader(msgspec.Struct, array_like=True, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Content of the FIELD section, a MessagePack array.

    networks : of the fine network, then of the coarse one if there is one
    space : near, far, and the corners of the box, eight float32
    lens : `SceneDomain.ndc` as two float32, empty for world space
    cells : of the grid along each axis, empty without one
    hundredths : PSNR in hundredths of a decibel to what the networks showed before, and to pictures;
        -1 when not measured
    zeros : weights that are zero, of all weights but those of the heads, in thousandths
    source_parameters : weights and biases before, of both networks
    """

    networks: tuple[StoredShape, ...]
    space: bytes
    lens: bytes = b""
    white_background: bool = False
    corner_width: int = 0
    cells: tuple[int, ...] = ()
    hundredths: tuple[int, int] = (-1, -1)
    zeros: int = 0
    source_parameters: int = 0

    @property
    def domain(self) -> SceneDomain:
        """The space that the field lives in."""
        near, far, *corners = _FLOATS.unpack(self.space)
        low, high = tuple(corners[:3]), tuple(corners[3:])
        return SceneDomain(
            near=near,
            far=far,
            ndc=_LENS.unpack(self.lens) if self.lens else None,
            white_background=self.white_background,
            corner_width=self.corner_width,
            low=low,
            high=high,
        )


def pack_domain(domain: SceneDomain) -> tuple[bytes, bytes]:
    """Return `space` and `lens` of a domain."""
    space = _FLOATS.pack(domain.near, domain.far, *domain.low, *domain.high)
    return space, b"" if domain.ndc is None else _LENS.pack(*domain.ndc)


@dataclass(frozen=True, eq=False)
class CodedField:
    """A field in integers.

    networks : layers of the fine network, then of the coarse one if there is one
    cells : (x, y, z) bool, None with a coarse network
    """

    header: FieldHeader
    networks: tuple[tuple[IntegerLayer, ...], ...]
    cells: NDArray[np.bool_] | None


def write_field(field: CodedField) -> tuple[Section, ...]:
    """Return the sections of an object."""
    sections = [Section(FIELD, msgspec.msgpack.encode(field.header))]
    for kind, layers in zip((FINE, COARSE), field.networks, strict=False):
        sections.append(Section(kind, encode_layers(layers)))
    if field.cells is not None:
        sections.append(Section(CELLS, encode_bit_grid(field.cells)))
    return tuple(sections)


def read_header(data: bytes) -> FieldHeader:
    """Read a FIELD section. Raises `CorruptFileError` unless an encoder can have written it."""
    try:
        header = msgspec.msgpack.decode(data, type=FieldHeader)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CorruptFileError(f"The description of a radiance field cannot be read: {error}.") from error
    fault = _fault_of_header(header)
    if fault:
        raise CorruptFileError(f"The description of a radiance field is impossible: {fault}.")
    return header


def read_field(sections: dict[int, bytes]) -> CodedField:
    """Read the sections of an object. Raises `CorruptFileError`."""
    if FIELD not in sections:
        raise CorruptFileError("The object has no description of its radiance field.")
    header = read_header(sections[FIELD])
    expected = {FIELD, FINE, COARSE if len(header.networks) == 2 else CELLS}
    if set(sections) != expected:
        raise CorruptFileError("The sections of a radiance field are not those that its description needs.")
    networks = []
    for kind, stored in zip((FINE, COARSE), header.networks, strict=False):
        sizes = [(outputs, inputs) for _, inputs, outputs in stored.shape.layers]
        networks.append(tuple(decode_layers(sections[kind], sizes)))
    cells = None
    if CELLS in sections:
        x, y, z = header.cells
        cells = decode_bit_grid(sections[CELLS], (x, y, z))
    return CodedField(header, tuple(networks), cells)


def _fault_of_header(header: FieldHeader) -> str | None:
    """Return what is impossible in a header, before anything of its sizes is allocated."""
    if len(header.networks) not in (1, 2):
        return f"{len(header.networks)} networks"
    if len(header.cells) != (3 if len(header.networks) == 1 else 0):
        return "it needs either a coarse network or cells"
    sides_fit = all(1 <= side <= MAX_SIDE for side in header.cells)
    if header.cells and not (sides_fit and math.prod(header.cells) <= MAX_CELLS):
        return f"{header.cells} cells"
    faults = [_fault_of_shape(stored) for stored in header.networks]
    if not 0 <= header.zeros <= 1000:
        return f"{header.zeros} thousandths of its weights are zero"
    claims = fault_of_claims(header.hundredths, header.source_parameters)
    return next((fault for fault in faults if fault), None) or _fault_of_space(header) or claims


def _fault_of_shape(stored: StoredShape) -> str | None:
    """Return what is impossible in the sizes of a network."""
    octaves = (stored.position_octaves, stored.direction_octaves)
    if not all(0 <= count <= MAX_OCTAVES for count in octaves):
        return f"{octaves} octaves"
    if not (1 <= len(stored.trunk) <= MAX_LAYERS and 1 <= len(stored.view) <= MAX_LAYERS):
        return f"{len(stored.trunk)} and {len(stored.view)} layers"
    widths = (*stored.trunk, *stored.view, stored.bottleneck or 1)
    if not all(1 <= width <= MAX_WIDTH for width in widths):
        return f"a width outside 1 to {MAX_WIDTH}"
    for named, least in ((stored.skips, 1), (stored.linear, 0)):
        if not all(least <= index < len(stored.trunk) for index in named) or not _ascending(named):
            return f"layers {named} of {len(stored.trunk)}"
    if stored.shape.parameters > MAX_PARAMETERS:
        return f"more than {MAX_PARAMETERS} weights"
    return None


def _fault_of_space(header: FieldHeader) -> str | None:
    """Return what is impossible in the space of a field."""
    if len(header.space) != _FLOATS.size or len(header.lens) not in (0, _LENS.size):
        return "its space has another length"
    near, far, *corners = _FLOATS.unpack(header.space)
    numbers = (near, far, *corners, *(_LENS.unpack(header.lens) if header.lens else ()))
    if not all(math.isfinite(number) for number in numbers):
        return "a number of its space is not finite"
    if not 0.0 <= near < far or not all(a < b for a, b in zip(corners[:3], corners[3:], strict=True)):
        return "its space is empty"
    if header.lens and min(_LENS.unpack(header.lens)) <= 0.0:
        return "its lens is impossible"
    if not 0 <= header.corner_width <= 1 << 16:
        return f"pictures {header.corner_width} pixels wide"
    return None


def _ascending(numbers: Sequence[int]) -> bool:
    return all(a < b for a, b in itertools.pairwise(numbers))
