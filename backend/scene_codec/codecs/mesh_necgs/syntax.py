"""The sections of a mesh-necgs file and their bytes, written and read side by side so that they cannot drift apart.

| kind | where | content |
|---|---|---|
| 1 ARCHITECTURE | shared | sizes of the decoder, and the steps of its weights and of the latents |
| 2 WEIGHTS | shared | the decoder's weights in steps, in the order of its parameters |
| 3 LATENT_TABLES | shared | one symbol table per latent channel |
| 16 SURFACE | object | frame, then the latents in steps, channel by channel |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from scene_codec.codecs.mesh_necgs.config import CODEC_NAME
from scene_codec.entropy.coding import decode_symbols, encode_symbols
from scene_codec.entropy.packing import pack_integers, unpack_integers
from scene_codec.entropy.tables import SymbolTable, read_table
from scene_codec.errors import CorruptFileError
from scene_codec.geometry.normalisation import Frame
from scene_codec.networks.decoder_shape import LATENT_RESOLUTION, DecoderShape, doublings

PAYLOAD_VERSION = 1

ARCHITECTURE = 1
WEIGHTS = 2
LATENT_TABLES = 3
SURFACE = 16

SHARED_LABELS = {
    ARCHITECTURE: "decoder sizes and steps",
    WEIGHTS: "decoder weights",
    LATENT_TABLES: "latent tables",
}
OBJECT_LABELS = {SURFACE: "surface"}

RESOLUTIONS = (32, 64, 128, 256)
MAX_PARAMETERS = 8_000_000
MAX_ACTIVATION_BYTES = 3 * 2**30
"""Largest intermediate result of decoding one mesh; the paper's widest network at 256 needs 0.8 GiB."""

LATENT_POSITIONS = LATENT_RESOLUTION**3


class Architecture(msgspec.Struct, array_like=True, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Content of the ARCHITECTURE section, a MessagePack array.

    Exponents stand for the step 2^(exponent / 8); one per weight tensor, and one per latent channel or for all.
    """

    resolution: int
    latent_channels: int
    widths: tuple[int, ...]
    outputs: int
    pointwise_head: bool
    weight_exponents: tuple[int, ...]
    latent_exponents: tuple[int, ...]

    @property
    def shape(self) -> DecoderShape:
        """Sizes of the network."""
        return DecoderShape(
            resolution=self.resolution,
            latent_channels=self.latent_channels,
            widths=self.widths,
            outputs=self.outputs,
            pointwise_head=self.pointwise_head,
        )


@dataclass(frozen=True)
class CodedSurface:
    """Content of an object's SURFACE section.

    latents : (c, 64) int32, in steps
    """

    frame: Frame
    latents: NDArray[np.int32]


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
    fault = _fault_of_sizes(architecture) or _fault_of_steps(architecture)
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
    if sum(parameter_sizes(architecture.shape)) > MAX_PARAMETERS:
        return f"more than {MAX_PARAMETERS} weights"
    largest = max(
        8 * width * (LATENT_RESOLUTION << level) ** 3 * 4 for level, width in enumerate(architecture.widths)
    )
    if largest > MAX_ACTIVATION_BYTES:
        return f"decoding one mesh would take {largest / 2**30:.1f} GiB"
    return None


def _fault_of_steps(architecture: Architecture) -> str | None:
    """Return what is wrong with the quantisation steps."""
    if len(architecture.weight_exponents) != len(parameter_sizes(architecture.shape)):
        return "the number of weight steps"
    if len(architecture.latent_exponents) not in (1, architecture.latent_channels):
        return "the number of latent steps"
    exponents = (*architecture.weight_exponents, *architecture.latent_exponents)
    return None if all(-128 <= exponent <= 127 for exponent in exponents) else "a step beyond one byte"


def write_weights(tensors: Sequence[NDArray[np.int32]]) -> bytes:
    """Return the WEIGHTS section from each tensor's values in steps, flat."""
    return pack_integers(tensors)


def read_weights(data: bytes, shape: DecoderShape) -> list[NDArray[np.int32]]:
    """Read a WEIGHTS section: flat tensors in coding order. Raises `CorruptFileError`."""
    return unpack_integers(data, parameter_sizes(shape))


def write_latent_tables(tables: Sequence[SymbolTable]) -> bytes:
    """Return the LATENT_TABLES section."""
    return b"".join(table.to_bytes() for table in tables)


def read_latent_tables(data: bytes, channels: int) -> list[SymbolTable]:
    """Read one table per channel. Raises `CorruptFileError`."""
    tables, position = [], 0
    for _ in range(channels):
        table, position = read_table(data, position)
        tables.append(table)
    if position != len(data):
        raise CorruptFileError(
            f"The latent tables of {CODEC_NAME} have {len(data) - position} bytes too many."
        )
    return tables


def write_surface(surface: CodedSurface, tables: Sequence[SymbolTable]) -> bytes:
    """Return a SURFACE section: one byte with the frame's length, the frame, the latents' range-coded words."""
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
