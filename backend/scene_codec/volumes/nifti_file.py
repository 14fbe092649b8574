"""NIfTI-1 and NIfTI-2 files (.nii mapped, .nii.gz read). The only module that imports nibabel.

Stored numbers are not scaled: `scl_slope` and `scl_inter` are kept as metadata, so that integers stay
integers and both are there again on writing. Format: nifti.nimh.nih.gov, whose names the fields keep.
"""

from __future__ import annotations

import base64
import gzip
import math
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias, cast

import numpy as np
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header
from numpy.typing import NDArray

from scene_codec.bitstream.atomic_file import open_atomically
from scene_codec.errors import UnsupportedSceneError
from scene_codec.volumes.array_storage import map_values, stored_bytes
from scene_codec.volumes.dense_grid import (
    BYTE_ORDER,
    ORIENTATION,
    UNITS,
    check_writable_type,
    checked_placement,
    checked_shape,
    checked_type,
    dense_grid,
    is_big_endian,
    single_channel_dropped,
    stored_type,
)
from scene_codec.volumes.inflating import check_expansion, inflate, open_compressed
from scene_codec.volumes.volume import MetadataValue, VolumeGrid

_PREFIX = "nifti:"
_VERSION = "nifti:version"
_RGB = "nifti:rgb"
_AXES = "nifti:axes"
_EXTENSIONS = "nifti:extensions"
_LARGEST_EXTENSIONS = 1 << 20
"""Bytes of header extensions that are kept; more are left out."""

_LARGEST_OFFSET = 1 << 24
_TYPES = ("uint8", "int16", "int32", "float32", "float64", "int8", "uint16", "uint32", "int64", "uint64")
_STORAGE_FIELDS = ("sizeof_hdr", "magic", "eol_check", "dim", "datatype", "bitpix", "vox_offset")
"""Header fields that the writer says anew."""

_GEOMETRY_FIELDS = (
    *("qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d"),
    *("qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z", "pixdim"),
)
_UNITS = {1: "m", 2: "mm", 3: "um"}
_LARGEST_AXIS_1 = 32767
_TO_RAS = {"RAS": (1.0, 1.0, 1.0), "LAS": (-1.0, 1.0, 1.0), "LPS": (-1.0, -1.0, 1.0)}
_RGB_CHANNELS = {128: 3, 2304: 4}
_VECTOR_INTENT = 1007

Header: TypeAlias = Any
"""A `Nifti1Header` or `Nifti2Header`; nibabel's methods carry no types."""


def load_nifti(path: Path) -> VolumeGrid:
    """Return the volume of a .nii or .nii.gz file, placed in the space of its header (RAS)."""
    compressed = path.name.lower().endswith(".gz")
    with path.open("rb") as file:
        stream = open_compressed(file, "gzip") if compressed else file
        header = _read_header(path, stream)
        offset = _offset(path, header)
        extensions = stream.read(offset - int(header["sizeof_hdr"]))
        shape, dtype = _stored_shape(path, header), _stored_type(path, header)
        if compressed:
            check_expansion(path, math.prod(shape) * dtype.itemsize, path.stat().st_size)
            stored = inflate(path, stream, shape[::-1], dtype).T
        else:
            stored = map_values(path, offset, shape[::-1], dtype).T
    values = stored
    if int(header["datatype"]) in _RGB_CHANNELS:  # colours lie side by side: the first axis in the file
        values = np.moveaxis(stored, 0, -1)
    matrix = np.asarray(header.get_best_affine(), dtype=np.float64)
    metadata = _metadata(header, extensions)
    return dense_grid(values, checked_placement(path, matrix), metadata)


def save_nifti(grid: VolumeGrid, path: Path) -> None:
    """Write a .nii or .nii.gz file; `to_object` is rounded to the float32 of NIfTI-1 unless it came from one.

    Raises `UnsupportedSceneError` for types that NIfTI lacks.
    """
    check_writable_type(path, grid, _TYPES)
    header = _header_to_write(grid)
    extensions = base64.b64decode(str(grid.metadata.get(_EXTENSIONS, "")) or "AAAAAA==")
    header["vox_offset"] = int(header["sizeof_hdr"]) + len(extensions)
    values = single_channel_dropped(grid.values)
    colours = int(header["datatype"]) in _RGB_CHANNELS
    chunks = stored_bytes((np.moveaxis(values, -1, 0) if colours else values).T, stored_type(grid))
    with open_atomically(path) as stream:
        if path.name.lower().endswith(".gz"):
            # No name and no date: the same volume gives the same bytes.
            with gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=stream, mtime=0) as packed:
                packed.write(header.binaryblock + extensions)
                packed.writelines(chunks)
        else:
            stream.write(header.binaryblock + extensions)
            stream.writelines(chunks)


def _read_header(path: Path, stream: BinaryIO) -> Header:
    """Return the header of version 1 or 2, in its own byte order."""
    start = stream.read(4)
    sizes = {int.from_bytes(start, "little"): "<", int.from_bytes(start, "big"): ">"}
    kind: Any = Nifti1Header if 348 in sizes else Nifti2Header if 540 in sizes else None
    if kind is None or len(start) < 4:
        raise UnsupportedSceneError(
            f"'{path.name}' is no NIfTI file: it does not start with a header's size."
        )
    size = 348 if kind is Nifti1Header else 540
    block = start + stream.read(size - 4)
    if len(block) < size:
        raise UnsupportedSceneError(f"'{path.name}' is damaged: it ends within its header.")
    header = kind(block, endianness=sizes[size], check=False)
    if bytes(header["magic"].item())[:3] not in (b"n+1", b"n+2"):
        raise UnsupportedSceneError(
            f"'{path.name}' is no single NIfTI file; a pair .hdr and .img must be joined."
        )
    return header


def _offset(path: Path, header: Header) -> int:
    """Return where the values begin."""
    offset = float(header["vox_offset"])
    if not (int(header["sizeof_hdr"]) <= offset <= _LARGEST_OFFSET and offset == math.floor(offset)):
        raise UnsupportedSceneError(f"'{path.name}' is damaged: its values begin at byte {offset:g}.")
    return int(offset)


def _stored_shape(path: Path, header: Header) -> tuple[int, ...]:
    """Return the axes in the file, fastest first: (x, y, z), (x, y, z, channels) or (colours, x, y, z)."""
    sizes = [int(size) for size in header["dim"]]
    if not 1 <= sizes[0] <= 7:
        raise UnsupportedSceneError(f"'{path.name}' is damaged: it declares {sizes[0]} axes.")
    axes = sizes[1 : sizes[0] + 1]
    x, y, z, times, *further = axes + [1] * (7 - len(axes))
    if times > 1:
        raise UnsupportedSceneError(
            f"'{path.name}' is a series of {times} volumes. Split it into one file for each."
        )
    if max(further[1:]) > 1:
        raise UnsupportedSceneError(f"'{path.name}' has six axes or more; a volume has three, and channels.")
    colours = _RGB_CHANNELS.get(int(header["datatype"]))
    if colours is not None and further[0] != 1:
        raise UnsupportedSceneError(f"'{path.name}' has several colours in each voxel, which cannot be held.")
    if colours is None and further[0] == 1:
        return checked_shape(path, (x, y, z))
    checked_shape(path, (x, y, z, colours or further[0]))
    return (x, y, z, further[0]) if colours is None else (colours, x, y, z)


def _stored_type(path: Path, header: Header) -> np.dtype[np.generic]:
    """Return the type of the stored numbers, with its byte order; colours are bytes."""
    code = int(header["datatype"])
    if code in _RGB_CHANNELS:
        return np.dtype(np.uint8)
    try:
        dtype = header.get_data_dtype()
    except Exception as error:  # nibabel raises KeyError and errors of its own
        raise UnsupportedSceneError(f"'{path.name}' declares numbers of the unknown type {code}.") from error
    return checked_type(path, dtype)


def _metadata(header: Header, extensions: bytes) -> dict[str, MetadataValue]:
    """Return what a header says beyond shape and storage; fields that are zero are left out."""
    metadata: dict[str, MetadataValue] = {ORIENTATION: "RAS"}
    if header.endianness == ">":
        metadata[BYTE_ORDER] = "big"
    if isinstance(header, Nifti2Header):
        metadata[_VERSION] = 2
    if int(header["datatype"]) in _RGB_CHANNELS:
        metadata[_RGB] = True
    metadata[_AXES] = int(header["dim"][0])
    unit = _UNITS.get(int(header["xyzt_units"]) & 7)
    if unit:
        metadata[UNITS] = unit
    if extensions not in (b"", bytes(4)) and len(extensions) <= _LARGEST_EXTENSIONS:
        metadata[_EXTENSIONS] = base64.b64encode(extensions).decode("ascii")
    for name in header:
        if name not in _STORAGE_FIELDS and header[name].tobytes().strip(b"\0"):
            metadata[_PREFIX + name] = _field_value(header[name])
    return metadata


def _field_value(field: NDArray[Any]) -> MetadataValue:
    """Return a header field as plain numbers or text."""
    value = field.tolist()
    if isinstance(value, bytes):
        return value.decode("latin-1")
    return tuple(value) if isinstance(value, list) else cast(MetadataValue, value)


def _header_to_write(grid: VolumeGrid) -> Header:
    """Return the header for a grid: the fields it came with, or new ones where it was moved or is foreign."""
    large = max(grid.values.shape) > _LARGEST_AXIS_1 or grid.metadata.get(_VERSION) == 2
    kind: Any = Nifti2Header if large else Nifti1Header
    size = 540 if large else 348
    header = kind(bytes(size), endianness=">" if is_big_endian(grid) else "<", check=False)
    header["sizeof_hdr"] = size
    header["magic"] = b"n+2" if large else b"n+1"
    if large:
        header["eol_check"] = (13, 10, 26, 10)
    has_colours = grid.metadata.get(_RGB) and grid.values.dtype == np.uint8 and grid.channels in (3, 4)
    colours = grid.channels if has_colours else 0
    _set_storage(header, grid, colours)
    for name in header:
        value = grid.metadata.get(_PREFIX + name)
        if value is not None:
            header[name] = value.encode("latin-1") if isinstance(value, str) else value
    if _PREFIX + "pixdim" not in grid.metadata or not np.array_equal(
        header.get_best_affine(), grid.to_object
    ):
        _set_placement(header, grid)
    return header


def _set_storage(header: Header, grid: VolumeGrid, colours: int) -> None:
    """Set shape and type."""
    x, y, z = grid.shape
    channels = 1 if colours else grid.channels
    sizes = [x, y, z, 1, channels, 1, 1]
    used = max((axis for axis, size in enumerate(sizes, 1) if size > 1), default=1)
    header["dim"] = [max(used, int(str(grid.metadata.get(_AXES, 3)))), *sizes]
    if colours:
        header["datatype"], header["bitpix"] = (128, 24) if colours == 3 else (2304, 32)
    else:
        header.set_data_dtype(grid.values.dtype)
    if channels > 1:
        header["intent_code"] = _VECTOR_INTENT


def _set_placement(header: Header, grid: VolumeGrid) -> None:
    """Set the fields that place a grid, turned into the space of NIfTI, and the unit."""
    for name in _GEOMETRY_FIELDS:
        header[name] = np.zeros_like(header[name])
    turn = np.diag((*_TO_RAS.get(str(grid.metadata.get(ORIENTATION)), (1.0, 1.0, 1.0)), 1.0))
    matrix = turn @ grid.to_object
    header["pixdim"] = [1.0, *np.linalg.norm(matrix[:3, :3], axis=0), 1.0, 1.0, 1.0, 1.0]
    header["srow_x"], header["srow_y"], header["srow_z"] = matrix[:3]
    header["sform_code"] = 2  # "aligned to something", which makes no claim about a scanner
    codes = {unit: code for code, unit in _UNITS.items()}
    header["xyzt_units"] = (int(header["xyzt_units"]) & ~7) | codes.get(str(grid.metadata.get(UNITS)), 0)
