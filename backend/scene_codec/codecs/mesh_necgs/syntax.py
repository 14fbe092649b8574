"""The sections of a mesh-necgs file and their bytes, written and read side by side.

| kind | where | content |
|---|---|---|
| 1 ARCHITECTURE | shared | sizes of the decoder |
| 2 WEIGHTS | shared | for each tensor of the decoder its quantisation step, then all tensors in steps |
| 3 LATENT_CODING | shared | for each latent channel its quantisation step, then for each its symbol table |
| 16 SURFACE | object | frame, then the latents in steps, channel by channel |
| 17 INFLATED | object | empty; present when the surface is that of a solid around the mesh |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec
import numpy as np
from numpy.typing import NDArray

from scene_codec.bitstream import Section
from scene_codec.codecs.mesh_necgs.config import CODEC_NAME
from scene_codec.entropy.byte_fields import ByteReader
from scene_codec.entropy.fitting import read_table
from scene_codec.entropy.packing import pack_integers, unpack_integers
from scene_codec.entropy.quantisers import QuantisationStep, dequantise, read_step
from scene_codec.entropy.range_coding import decode_symbols, encode_symbols
from scene_codec.entropy.tables import SymbolTable
from scene_codec.errors import CorruptFileError
from scene_codec.geometry.normalisation import Frame
from scene_codec.networks.decoder_shape import LATENT_RESOLUTION, DecoderShape, doublings

PAYLOAD_VERSION = 1

ARCHITECTURE = 1
WEIGHTS = 2
LATENT_CODING = 3
SURFACE = 16
INFLATED = 17

SHARED_LABELS = {
    ARCHITECTURE: "decoder sizes",
    WEIGHTS: "decoder weights",
    LATENT_CODING: "latent steps and tables",
}
OBJECT_LABELS = {SURFACE: "surface", INFLATED: "inflated"}

RESOLUTIONS = (32, 64, 128, 256)
MAX_PARAMETERS = 8_000_000
MAX_ACTIVATION_BYTES = 2**30
"""Largest intermediate result of decoding one mesh; the paper's widest network at 256 needs 0.8 GiB. Three of
them are alive at a time."""

LATENT_POSITIONS = LATENT_RESOLUTION**3


class Architecture(msgspec.Struct, array_like=True, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Content of the ARCHITECTURE section, a MessagePack array."""

    resolution: int
    latent_channels: int
    widths: tuple[int, ...]
    outputs: int
    pointwise_head: bool
    residual: bool

    @property
    def shape(self) -> DecoderShape:
        """Sizes of the network."""
        return DecoderShape(
            resolution=self.resolution,
            latent_channels=self.latent_channels,
            widths=self.widths,
            outputs=self.outputs,
            pointwise_head=self.pointwise_head,
            residual=self.residual,
        )


@dataclass(frozen=True)
class CodedSurface:
    """Content of an object's sections.

    latents : (c, 64) int32, in steps
    inflated : the grid is that of a solid around the mesh (see `geometry.inflation`)
    """

    frame: Frame
    latents: NDArray[np.int32]
    inflated: bool = False


def parameter_sizes(shape: DecoderShape) -> list[int]:
    """Return the number of values of each of the decoder's tensors, in coding order."""
    sizes = []
    inputs = (shape.latent_channels, *shape.widths[:-1])
    for channels, width in zip(inputs, shape.widths, strict=True):
        sizes += [8 * width * channels * 27, 8 * width]
    sizes += [shape.outputs * shape.widths[-1] * (1 if shape.pointwise_head else 27), shape.outputs]
    return sizes


def write_architecture(architecture: Architecture) -> bytes:
    """Return the ARCHITECTURE section."""
    return msgspec.msgpack.encode(architecture)


def read_architecture(data: bytes) -> Architecture:
    """Read an ARCHITECTURE section. Raises `CorruptFileError` if its sizes are not those of an encoder."""
    try:
        architecture = msgspec.msgpack.decode(data, type=Architecture)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CorruptFileError(f"The decoder's sizes cannot be read: {error}.") from error
    fault = _fault_of_sizes(architecture) or _fault_of_memory(architecture)
    if fault:
        raise CorruptFileError(f"The decoder's sizes are impossible: {fault}.")
    return architecture


def _fault_of_sizes(architecture: Architecture) -> str | None:
    """Return what is wrong with the network's sizes, before anything of those sizes is allocated."""
    if architecture.resolution not in RESOLUTIONS:
        return f"resolution {architecture.resolution}"
    expected = doublings(architecture.resolution)
    if len(architecture.widths) != expected:
        return f"{len(architecture.widths)} widths for {expected} doublings"
    if not all(1 <= channels <= 1024 for channels in (architecture.latent_channels, *architecture.widths)):
        return "a width outside 1 to 1024"
    if architecture.outputs not in (1, 4):
        return f"{architecture.outputs} output channels"
    return None


def _fault_of_memory(architecture: Architecture) -> str | None:
    """Return what would take too much memory."""
    if sum(parameter_sizes(architecture.shape)) > MAX_PARAMETERS:
        return f"more than {MAX_PARAMETERS} weights"
    largest = max(
        8 * width * (LATENT_RESOLUTION << level) ** 3 * 4 for level, width in enumerate(architecture.widths)
    )
    if largest > MAX_ACTIVATION_BYTES:
        return f"decoding one mesh would take {largest / 2**30:.1f} GiB"
    return None


def write_weights(steps: Sequence[QuantisationStep], tensors: Sequence[NDArray[np.int32]]) -> bytes:
    """Return the WEIGHTS section from each tensor's step and its values in steps, flat."""
    return b"".join(step.to_bytes() for step in steps) + pack_integers(tensors)


def read_weights(data: bytes, shape: DecoderShape) -> list[NDArray[np.float32]]:
    """Read a WEIGHTS section: flat tensors in coding order. Raises `CorruptFileError`."""
    reader = ByteReader(data)
    sizes = parameter_sizes(shape)
    steps = [read_step(reader) for _ in sizes]
    tensors = unpack_integers(reader.rest(), [(size,) for size in sizes])
    return [dequantise(tensor, step) for tensor, step in zip(tensors, steps, strict=True)]


@dataclass(frozen=True)
class LatentCoding:
    """How the latents of all objects of a set are coded: one step and one table per channel."""

    steps: tuple[QuantisationStep, ...]
    tables: tuple[SymbolTable, ...]


def write_latent_coding(coding: LatentCoding) -> bytes:
    """Return the LATENT_CODING section."""
    steps = b"".join(step.to_bytes() for step in coding.steps)
    return steps + b"".join(table.description for table in coding.tables)


def read_latent_coding(data: bytes, channels: int) -> LatentCoding:
    """Read a LATENT_CODING section. Raises `CorruptFileError`."""
    reader = ByteReader(data)
    steps = tuple(read_step(reader) for _ in range(channels))
    tables = tuple(read_table(reader) for _ in range(channels))
    excess = len(reader.rest())
    if excess:
        raise CorruptFileError(f"The latent tables of {CODEC_NAME} have {excess} bytes too many.")
    return LatentCoding(steps, tables)


def write_object(surface: CodedSurface, tables: Sequence[SymbolTable]) -> tuple[Section, ...]:
    """Return the sections of an object."""
    sections = [Section(SURFACE, write_surface(surface, tables))]
    if surface.inflated:
        sections.append(Section(INFLATED, b""))
    return tuple(sections)


def read_object(sections: Mapping[int, bytes], tables: Sequence[SymbolTable]) -> CodedSurface:
    """Read the sections of an object. Raises `CorruptFileError`."""
    if SURFACE not in sections:
        raise CorruptFileError("The object has no surface section.")
    if sections.get(INFLATED):
        raise CorruptFileError("The mark of an inflated object is not empty.")
    return replace(read_surface(sections[SURFACE], tables), inflated=INFLATED in sections)


def write_surface(surface: CodedSurface, tables: Sequence[SymbolTable]) -> bytes:
    """Return a SURFACE section: the frame's length (one byte), the frame, the range-coded latents."""
    frame = surface.frame.to_bytes()
    return bytes([len(frame)]) + frame + encode_symbols(list(zip(surface.latents, tables, strict=True)))


def read_surface(data: bytes, tables: Sequence[SymbolTable]) -> CodedSurface:
    """Read a SURFACE section. Raises `CorruptFileError`."""
    if not data or len(data) < 1 + data[0]:
        raise CorruptFileError(f"The surface section ends after {len(data)} bytes, inside its frame.")
    frame_end = 1 + data[0]
    frame = Frame.from_bytes(data[1:frame_end])
    channels = decode_symbols(data[frame_end:], [(LATENT_POSITIONS, table) for table in tables])
    return CodedSurface(frame, np.stack(channels))
