"""OpenVDB files put together byte by byte, independently of the package's own writer."""

import struct
import zlib
from dataclasses import dataclass

from numcodecs import blosc

ZIP, ACTIVE_MASK, BLOSC = 1, 2, 4
UPPER, LOWER, LEAF = 32**3, 16**3, 8**3


def text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("<I", len(data)) + data


def entry(name: str, kind: str, data: bytes) -> bytes:
    return text(name) + text(kind) + struct.pack("<I", len(data)) + data


def entries(*items: bytes) -> bytes:
    return struct.pack("<I", len(items)) + b"".join(items)


NO_ENTRIES = entries()


def bits(offsets, size: int) -> bytes:
    return sum(1 << offset for offset in set(offsets)).to_bytes(size // 8, "little")


def chunk(data: bytes, flags: int, *, half: bool = False) -> bytes:
    if half and not data:
        return b""
    if flags & BLOSC:
        packed = blosc.compress(data, b"lz4", 9, 1, len(data)) if data else b""
        return struct.pack("<q", len(packed)) + packed
    if flags & ZIP:
        packed = zlib.compress(data)
        return struct.pack("<q", len(packed)) + packed
    return data


UNIFORM_SCALE = text("UniformScaleMap") + struct.pack("<15d", *[0.5] * 6, *[2.0] * 3, *[4.0] * 3, *[1.0] * 3)


@dataclass
class Grid:
    """One grid of a file. `topology` begins with the number of buffers; `values` are those of the leaves."""

    topology: bytes
    values: bytes = b""
    name: str = "grid"
    kind: str = "Tree_float_5_4_3"
    flags: int = ACTIVE_MASK
    metadata: bytes = entries()
    transform: bytes = UNIFORM_SCALE
    parent: str = ""


def file_bytes(
    *grids: Grid, version: int = 224, offsets: bool = True, zipped: bool = True, metadata=NO_ENTRIES
):
    data = b" BDV\0\0\0\0" + struct.pack("<IIIB", version, 9, 0, offsets)
    if version < 222:
        data += bytes((zipped,))
    data += b"0" * 36 + metadata + struct.pack("<i", len(grids))
    for grid in grids:
        data += text(grid.name) + text(grid.kind) + text(grid.parent)
        settings = (b"" if version < 222 else struct.pack("<I", grid.flags)) + grid.metadata + grid.transform
        start = len(data) + 24
        blocks = start + len(settings) + len(grid.topology)
        places = (start, blocks, blocks + len(grid.values)) if offsets else (0, 0, 0)
        data += struct.pack("<3q", *places) + settings + grid.topology + grid.values
    return data


def root(background: bytes, children=(), tiles=()) -> bytes:
    """Return a tree's topology: tiles are (origin, value bytes, active), children (origin, bytes)."""
    data = struct.pack("<i", 1) + background + struct.pack("<II", len(tiles), len(children))
    for origin, value, active in tiles:
        data += struct.pack("<3i", *origin) + value + bytes((active,))
    for origin, child in children:
        data += struct.pack("<3i", *origin) + child
    return data


def node(size: int, children=(), values: bytes = b"\0", below: bytes = b"", active=()) -> bytes:
    """Return an internal node; without `values` its tiles are all background, uncompressed."""
    return bits(children, size) + bits(active, size) + values + below


def single_leaf(background: bytes, mask: bytes, plain: bytes = b"\0") -> bytes:
    """Return a tree with one leaf at the origin; `plain` are the values of a node without tiles."""
    lower = node(LOWER, {0}, plain, mask)
    return root(background, [((0, 0, 0), node(UPPER, {0}, plain, lower))])
