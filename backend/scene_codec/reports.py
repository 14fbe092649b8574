"""What the public API returns: plain typed records, ready for JSON."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Content = Literal["mesh", "volume", "radiance"]
"""What a file holds, all its objects alike."""


Details = dict[str, tuple[dict[str, Any], ...]]
"""What a codec says of an object's parts: by sort of part, a record of words and numbers for each."""


class ObjectFailure(msgspec.Struct, frozen=True, kw_only=True):
    """An input that could not be used, with the reason in words."""

    name: str
    reason: str


class EncodedObject(msgspec.Struct, frozen=True, kw_only=True):
    """One object of the written file.

    bytes : the object's own bytes in the file, its header record included
    vertices, faces : of a mesh; 0 for others
    grids, voxels : of a volume, voxels of all its grids together; 0 for others
    parameters : of a radiance field, numbers that were trained; 0 for others
    area_left : share of a mesh's area that comes back, where it was coded with a number of triangles; else 1
    binary_bytes : uncompressed: 12 bytes a vertex and 12 a face of a mesh, all values of a volume, 4 bytes a
        parameter
    source_bytes : size of the input file, 0 when it did not come from a file
    details : what the codec says of the object's parts, as in `ObjectSummary`
    """

    name: str
    bytes: int
    vertices: int
    faces: int
    binary_bytes: int
    source_bytes: int
    grids: int = 0
    voxels: int = 0
    parameters: int = 0
    area_left: float = 1.0
    details: Details = {}


class EncodeReport(msgspec.Struct, frozen=True, kw_only=True):
    """Result of `encode` and `add`: the written file and what became of each input.

    preset, changed : what was in force: a preset, but for the settings that were changed and their values
    """

    path: str
    file_bytes: int
    codec: str
    preset: str
    device: str
    seconds: float
    objects: tuple[EncodedObject, ...]
    failures: tuple[ObjectFailure, ...]
    changed: dict[str, Any] = {}


class EstimatedObject(msgspec.Struct, frozen=True, kw_only=True):
    """About what encoding an object will come to.

    bytes : its own data and its share of the file's head
    faces : triangles that it has, `triangles` : that will come back
    error_percent : mean distance between before and after, in percent of the bounding box's diagonal
    binary_bytes : uncompressed, as in `EncodedObject`
    """

    name: str
    bytes: int
    faces: int
    triangles: int
    error_percent: float
    binary_bytes: int


class EstimateReport(msgspec.Struct, frozen=True, kw_only=True):
    """Result of `estimate`: what `encode` would write with the same inputs and settings, about."""

    codec: str
    preset: str
    file_bytes: int
    triangles: int
    seconds: float
    objects: tuple[EstimatedObject, ...]
    failures: tuple[ObjectFailure, ...]
    changed: dict[str, Any] = {}


class SectionSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One section of the file: `label` is the codec's word for `kind`, or "unknown"."""

    kind: int
    label: str
    bytes: int
    required: bool


class ObjectSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One object as listed by `inspect`.

    bytes : sections plus the object's record in the header
    transform : 16 numbers, row major, object to world
    instance_of : name of the object whose geometry this one shares, or None
    details : what the codec says of the object's parts, by sort: such as the quality each grid reached
    """

    name: str
    bytes: int
    sections: tuple[SectionSummary, ...]
    transform: tuple[float, ...]
    host_bytes: int
    instance_of: str | None
    details: Details = {}


class FileSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What `inspect` tells without decoding: header, shared sections and objects add up to `file_bytes`.

    damage : a sentence about everything that is damaged, when that was looked for
    """

    path: str
    file_bytes: int
    container_version: int
    codec: str
    payload_version: int
    header_bytes: int
    shared: tuple[SectionSummary, ...]
    objects: tuple[ObjectSummary, ...]
    damage: tuple[str, ...] = ()


class CodecInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One codec and its presets; `presets` maps a name to one line of explanation.

    content : what the codec takes and gives back
    fixed_settings : those that hold for a file as a whole, which `add` cannot change
    quality_settings : those that say what comes back: an error, a size, a number of triangles
    estimates : whether `estimate` can tell beforehand what encoding will come to
    """

    name: str
    content: Content
    summary: str
    default_preset: str
    presets: dict[str, str]
    fixed_settings: tuple[str, ...] = ()
    quality_settings: tuple[str, ...] = ()
    estimates: bool = False
