"""What is given to `encode` and `add`: files and objects become checked, named objects, and those records."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scene_codec.bitstream import ObjectRecord
from scene_codec.bitstream.limits import MAX_HOST_BYTES, MAX_NAME_BYTES
from scene_codec.codecs.contract import CodedSet
from scene_codec.errors import UnsupportedSceneError
from scene_codec.geometry.mesh_file_search import find_mesh_files
from scene_codec.geometry.mesh_files import load_scene_objects
from scene_codec.geometry.object_names import unique_names
from scene_codec.geometry.scene_object import SceneObject, TriangleMesh
from scene_codec.reports import ObjectFailure

IDENTITY = tuple(float(row == column) for row in range(4) for column in range(4))

EncodeInput = SceneObject | str | Path


def gather(
    inputs: EncodeInput | Sequence[EncodeInput], taken: Sequence[str]
) -> tuple[list[SceneObject], list[ObjectFailure]]:
    """Load files and folders; return all objects under unique names, and what could not be used.

    Raises `UnsupportedSceneError` with the reasons when nothing is left.
    """
    objects: list[SceneObject] = []
    failures = []
    for item in [inputs] if isinstance(inputs, SceneObject | str | Path) else inputs:
        if isinstance(item, SceneObject):
            objects.append(item)
            continue
        for path in find_mesh_files([item]):
            try:
                objects += load_scene_objects(path)
            except UnsupportedSceneError as problem:
                failures.append(ObjectFailure(name=path.name, reason=str(problem)))
    names = unique_names((item.name for item in objects), taken)
    named = [
        item if item.name == name else replace(item, name=name)
        for item, name in zip(objects, names, strict=True)
    ]
    placed = []
    for item in named:
        reason = _fault_of_object(item)
        if reason is None:
            placed.append(item)
        else:
            failures.append(ObjectFailure(name=item.name, reason=reason))
    if not placed:
        reasons = "; ".join(f"{failure.name}: {failure.reason}" for failure in failures[:5])
        raise UnsupportedSceneError(f"There is nothing to encode. {reasons}".rstrip())
    return placed, failures


def _fault_of_object(item: SceneObject) -> str | None:
    """Return why an object cannot be put into a file, whatever its geometry, or None."""
    name_bytes = len(item.name.encode("utf-8", "surrogatepass"))
    if name_bytes > MAX_NAME_BYTES or not _is_unicode(item.name):
        return f"its name has {name_bytes} bytes, of {MAX_NAME_BYTES} at most, or is no valid Unicode"
    if len(item.host) > MAX_HOST_BYTES:
        return f"its host data have {len(item.host)} bytes; there is room for {MAX_HOST_BYTES}"
    return _fault_of_arrays(np.asarray(item.transform), item.mesh)


def _fault_of_arrays(transform: NDArray[np.float64], mesh: TriangleMesh) -> str | None:
    """Return what is wrong with the shape or type of an object's arrays, or None."""
    if transform.shape != (4, 4):
        return f"its transform has the shape {transform.shape}, not (4, 4)"
    if not np.isfinite(transform).all() or not np.array_equal(transform[3], (0.0, 0.0, 0.0, 1.0)):
        return "its transform is not an affine map of finite numbers"
    for name, array in (("vertices", mesh.vertices), ("faces", mesh.faces)):
        if array.ndim != 2 or array.shape[1] != 3:
            return f"its {name} have the shape {array.shape}, not (n, 3)"
    if not np.issubdtype(mesh.faces.dtype, np.integer):
        return f"its faces are {mesh.faces.dtype} numbers, not integers"
    return None


def _is_unicode(text: str) -> bool:
    """Tell whether a text can be written as UTF-8: half a surrogate pair cannot."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _mesh_key(item: SceneObject) -> bytes:
    """Return the same bytes for the same geometry."""
    digest = hashlib.blake2b(digest_size=16)
    for array in (item.mesh.vertices, item.mesh.faces):
        digest.update(np.ascontiguousarray(array).data)
        digest.update(str((array.shape, array.dtype)).encode())
    return digest.digest()


def originals(objects: Sequence[SceneObject]) -> list[SceneObject]:
    """Return the first object of every geometry; the others will share its sections."""
    first: dict[bytes, SceneObject] = {}
    for item in objects:
        first.setdefault(_mesh_key(item), item)
    return list(first.values())


def records_of(
    objects: Sequence[SceneObject], coded: CodedSet, failures: Sequence[ObjectFailure], first_index: int
) -> tuple[list[ObjectRecord], list[ObjectFailure]]:
    """Return the file's records in the order of the input, and all failures, those of copies included."""
    sections = {item.source.name: item.sections for item in coded.objects}
    reasons = {failure.name: failure.reason for failure in coded.failures}
    records: list[ObjectRecord] = []
    all_failures = [*failures]
    place_of: dict[bytes, int | str] = {}
    for item in objects:
        key = _mesh_key(item)
        original = place_of.get(key)
        if item.name in reasons or isinstance(original, str):
            place_of[key] = reasons.get(item.name, str(original))
            all_failures.append(ObjectFailure(name=item.name, reason=str(place_of[key])))
            continue
        if original is None:
            place_of[key] = first_index + len(records)
        transform = tuple(float(number) for number in item.transform.reshape(-1))
        records.append(
            ObjectRecord(
                name=item.name,
                sections=sections[item.name] if original is None else (),
                transform=None if transform == IDENTITY else transform,
                host=item.host,
                instance_of=original,
            )
        )
    return records, all_failures
