"""The sections of a field that VQRF's method made, written and read side by side.

| kind | content, deflated |
|---|---|
| 32 MASKS | a bit for each node whether it is held, then one whether it is kept, each from a new byte on |
| 33 DENSITY | float32 scale, int8 zero, int8 for each held node |
| 34 KEPT | float32 scale, int8 zero, int8 for each feature of each kept node |
| 35 INDICES | the code of each other held node, in as few bits as the codebook needs, highest first |
| 36 CODEBOOK | float16, code by code |
| 37 NETWORK | float16, the shader's weights and biases; absent without any |

The published layout is the same in .npz files within a zip archive, which are deflated too.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from scene_codec.codecs.radiance_vqrf.paper_grid import PaperFrame, PaperGrid
from scene_codec.codecs.radiance_vqrf.paper_rounding import EightBits
from scene_codec.codecs.radiance_vqrf.paper_sections import (
    CODEBOOK,
    DENSITY,
    INDICES,
    KEPT,
    MASKS,
    NETWORK,
)
from scene_codec.codecs.radiance_vqrf.stored_field import MAX_CODES, MAX_NODES, MAX_VALUES
from scene_codec.entropy.byte_fields import unpacked_bits
from scene_codec.errors import CorruptFileError

_LEVEL = 9
_MOST_EXPANSION = 1032
"""A deflate stream gives at most so many bytes for each of its own (zlib's documentation)."""

_RULE = struct.Struct("<fb")
_INDICES_AT_ONCE = 1 << 18


def write_paper(grid: PaperGrid) -> dict[int, bytes]:
    """Return the sections of a grid."""
    masks = np.packbits(grid.held).tobytes() + np.packbits(grid.kept).tobytes()
    parts = {
        MASKS: masks,
        DENSITY: _eight_bit_bytes(grid.density),
        KEPT: _eight_bit_bytes(grid.own),
        INDICES: pack_indices(grid.codes, len(grid.codebook)),
        CODEBOOK: grid.codebook.astype("<f2").tobytes(),
    }
    if grid.network:
        parts[NETWORK] = b"".join(values.astype("<f2").tobytes() for values in grid.network)
    return {kind: zlib.compress(content, _LEVEL) for kind, content in parts.items()}


def read_paper(sections: Mapping[int, bytes], frame: PaperFrame, codes: int) -> PaperGrid:
    """Return the grid in sections. Raises `CorruptFileError` unless `write_paper` can have written them.

    frame : whose sizes the caller has checked
    codes : vectors in the codebook
    """
    network = frame.shader.parameters()
    wanted = {MASKS, DENSITY, KEPT, INDICES, CODEBOOK} | ({NETWORK} if network else set())
    if set(sections) != wanted:
        raise CorruptFileError("The sections of a radiance field are not those that its description needs.")
    nodes, channels = frame.lattice.nodes, frame.shader.features
    if not (nodes <= MAX_NODES and 2 <= codes <= MAX_CODES):
        raise CorruptFileError(f"A radiance field of {nodes} nodes and {codes} codes is impossible.")
    held, kept = _read_masks(sections[MASKS], nodes)
    rows, own = int(held.sum()), int(kept.sum())
    if rows * channels > MAX_VALUES:
        raise CorruptFileError(f"A radiance field of {rows} nodes with {channels} features is impossible.")
    codebook = read_halves(sections[CODEBOOK], [(codes, channels)], "codebook")
    weights = [tuple(values.shape) for values in network.values()]
    return PaperGrid(
        held=held,
        kept=kept,
        density=_read_eight_bits(sections[DENSITY], (rows, 1), "densities"),
        own=_read_eight_bits(sections[KEPT], (own, channels), "kept features"),
        codes=_read_indices(sections[INDICES], rows - own, codes),
        codebook=codebook[0],
        network=tuple(read_halves(sections[NETWORK], weights, "network")) if network else (),
    )


def pack_indices(indices: NDArray[np.uint16], codes: int) -> bytes:
    """Return indices below a number of codes in as few bits each as that needs, highest first."""
    width = (codes - 1).bit_length()
    shifts = np.arange(width - 1, -1, -1, dtype=np.uint16)
    bits = (indices[:, None] >> shifts & 1).astype(np.uint8)
    return np.packbits(bits).tobytes()


def unpack_indices(packed: bytes, count: int, codes: int) -> NDArray[np.uint16]:
    """Return what `pack_indices` packed. Raises `CorruptFileError`."""
    width = (codes - 1).bit_length()
    bits = unpacked_bits(packed, count * width).reshape(count, width)
    found = np.zeros(count, np.uint16)
    for start in range(0, count, _INDICES_AT_ONCE):
        part = found[start : start + _INDICES_AT_ONCE]
        for column in bits[start : start + _INDICES_AT_ONCE].T:
            part <<= 1
            part |= column
    if count and int(found.max()) >= codes:
        raise CorruptFileError(f"A node has the code {int(found.max())} of {codes}.")
    return found


def _eight_bit_bytes(values: EightBits) -> bytes:
    return _RULE.pack(values.scale, values.zero) + values.stored.tobytes()


def inflated(data: bytes, size: int, what: str) -> bytes:
    """Return exactly so many bytes, or raise `CorruptFileError`; no more are ever inflated."""
    fault = f"The {what} of a radiance field are damaged"
    if size > _MOST_EXPANSION * (len(data) + 1):
        raise CorruptFileError(f"{fault}: {len(data)} bytes cannot hold {size}.")
    stream = zlib.decompressobj()
    try:
        found = stream.decompress(data, size + 1)
    except zlib.error as error:
        raise CorruptFileError(f"{fault}: {error}.") from error
    if len(found) != size or not stream.eof or stream.unused_data:
        raise CorruptFileError(f"{fault}: they do not take {size} bytes.")
    return found


def _read_masks(data: bytes, nodes: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which of the nodes are held, and which are kept."""
    size = -(-nodes // 8)
    packed = inflated(data, 2 * size, "masks")
    held, kept = (unpacked_bits(part, nodes).view(np.bool_) for part in (packed[:size], packed[size:]))
    if not held.any() or (kept & ~held).any():
        raise CorruptFileError("A radiance field holds no node, or keeps one that it does not hold.")
    return held, kept


def _read_eight_bits(data: bytes, shape: tuple[int, int], what: str) -> EightBits:
    content = inflated(data, _RULE.size + math.prod(shape), what)
    scale, zero = _RULE.unpack_from(content)
    # A value is 255 scales at most.
    if not 0.0 < scale < float(np.finfo(np.float32).max) / 256.0:
        raise CorruptFileError(f"The {what} of a radiance field have the scale {scale}.")
    stored = np.frombuffer(content, np.int8, offset=_RULE.size).reshape(shape)
    return EightBits(stored, scale, zero)


def _read_indices(data: bytes, count: int, codes: int) -> NDArray[np.uint16]:
    width = (codes - 1).bit_length()
    return unpack_indices(inflated(data, -(-count * width // 8), "codes"), count, codes)


def read_halves(data: bytes, shapes: list[tuple[int, ...]], what: str) -> list[NDArray[np.float16]]:
    """Return finite numbers in arrays of such shapes."""
    sizes = [math.prod(shape) for shape in shapes]
    content = np.frombuffer(inflated(data, 2 * sum(sizes), f"numbers of the {what}"), "<f2")
    if not np.isfinite(content).all():
        raise CorruptFileError(f"A number of the {what} of a radiance field is not finite.")
    arrays = np.split(content.astype(np.float16), np.cumsum(sizes)[:-1])
    return [array.reshape(shape) for array, shape in zip(arrays, shapes, strict=True)]
