"""What is given to `encode` and `add`: files and objects become checked, named objects, and those records."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from scene_codec.bitstream import ObjectRecord
from scene_codec.bitstream.limits import MAX_HOST_BYTES, MAX_NAME_BYTES
from scene_codec.codecs.contract import CodedSet, ContentSize, EncodeItem
from scene_codec.codecs.registry import DEFAULT_CODECS, VOXEL_FIELD_CODEC
from scene_codec.errors import InvalidRequestError, UnsupportedSceneError
from scene_codec.file_search import files_below
from scene_codec.geometry.mesh_file_search import find_mesh_files
from scene_codec.geometry.mesh_files import READABLE_SUFFIXES as MESH_SUFFIXES
from scene_codec.geometry.mesh_files import load_scene_objects
from scene_codec.geometry.object_names import unique_names
from scene_codec.geometry.scene_object import SceneObject, TriangleMesh
from scene_codec.radiance.checkpoint_source import (
    CHECKPOINT_SUFFIXES,
    CheckpointFile,
    checkpoint_files,
    checkpoints_below,
    is_checkpoint_file,
)
from scene_codec.radiance.radiance_object import RadianceObject
from scene_codec.reports import Content, ObjectFailure
from scene_codec.volumes.frame_names import in_frame_order
from scene_codec.volumes.volume import VolumeObject
from scene_codec.volumes.volume_file_search import find_volume_files
from scene_codec.volumes.volume_files import READABLE_SUFFIXES as VOLUME_SUFFIXES
from scene_codec.volumes.volume_files import volume_name, volume_suffix
from scene_codec.volumes.volume_source import VolumeFile

IDENTITY = tuple(float(row == column) for row in range(4) for column in range(4))

EncodeInput = EncodeItem | str | Path

_IN_WORDS: dict[Content, str] = {
    "mesh": "a mesh",
    "volume": "a volume",
    "radiance": "a trained radiance field",
}


def content_of(inputs: EncodeInput | Sequence[EncodeInput]) -> Content:
    """Return what there is to encode. Raises `InvalidRequestError` when it is of several sorts."""
    found = {_content_of_item(item): item for item in _as_list(inputs)}
    if len(found) > 1:
        (first, one), (second, other) = sorted(
            list(found.items())[:2], key=lambda pair: list(_IN_WORDS).index(pair[0])
        )
        raise InvalidRequestError(
            f"'{_called(one)}' is {_IN_WORDS[first]} and '{_called(other)}' {_IN_WORDS[second]}: a file "
            "holds one or the other. Encode them into two files."
        )
    return next(iter(found), "mesh")


def default_codec(inputs: EncodeInput | Sequence[EncodeInput]) -> str:
    """Return the codec of what there is to encode. Raises `InvalidRequestError` when it takes several."""
    content = content_of(inputs)
    if content != "radiance":
        return DEFAULT_CODECS[content]
    fields = [item for item in _trained_fields(_as_list(inputs)) if isinstance(item, CheckpointFile)]
    voxels = [item for item in fields if item.voxels]
    networks = [item for item in fields if not item.voxels]
    if voxels and networks:
        raise InvalidRequestError(
            f"'{voxels[0].name}' is a voxel field and '{networks[0].name}' a NeRF: a file has one codec, and "
            "they take different ones. Encode them into two files."
        )
    return VOXEL_FIELD_CODEC if voxels else DEFAULT_CODECS[content]


def gather(
    inputs: EncodeInput | Sequence[EncodeInput], content: Content, taken: Sequence[str]
) -> tuple[list[EncodeItem], list[ObjectFailure]]:
    """Return all objects of files and folders under unique names, and what could not be used.

    Meshes are loaded, volumes and trained fields are opened when they are coded.

    Raises `UnsupportedSceneError` with the reasons when nothing is left.
    """
    objects: list[EncodeItem] = []
    failures: list[ObjectFailure] = []
    if content == "radiance":
        objects = _trained_fields(_as_list(inputs))
    else:
        for item in _as_list(inputs):
            if isinstance(item, EncodeItem):
                objects.append(item)
            elif content == "volume":
                objects += [VolumeFile(volume_name(path), path) for path in find_volume_files([item])]
            else:
                objects += _loaded_meshes(item, failures)
    if content == "volume" and not any(isinstance(item, EncodeItem) for item in _as_list(inputs)):
        # The shell lists frame 10 before frame 9; objects come in the order in which they were given.
        objects = _told_apart(in_frame_order(objects, _place_and_name))
    names = unique_names((item.name for item in objects), taken)
    named = [
        item if item.name == name else replace(item, name=name)
        for item, name in zip(objects, names, strict=True)
    ]
    placed = []
    for item in named:
        reason = _fault_of_object(item, content)
        if reason is None:
            placed.append(item)
        else:
            failures.append(ObjectFailure(name=item.name, reason=reason))
    if not placed:
        reasons = "; ".join(f"{failure.name}: {failure.reason}" for failure in failures[:5])
        raise UnsupportedSceneError(f"There is nothing to encode. {reasons}".rstrip())
    return placed, failures


def _loaded_meshes(path: str | Path, failures: list[ObjectFailure]) -> list[SceneObject]:
    """Return the meshes of a file or folder; what cannot be read goes to `failures`."""
    meshes = []
    for file in find_mesh_files([path]):
        try:
            meshes += load_scene_objects(file)
        except UnsupportedSceneError as problem:
            failures.append(ObjectFailure(name=file.name, reason=str(problem)))
    return meshes


def _trained_fields(inputs: list[EncodeInput]) -> list[EncodeItem]:
    """Return given objects as they are, and the fields of all files together: some take two."""
    objects: list[EncodeItem] = [item for item in inputs if isinstance(item, EncodeItem)]
    return objects + checkpoint_files(item for item in inputs if not isinstance(item, EncodeItem))


def _place_and_name(item: EncodeItem) -> str:
    """Return what sorts the frames of two sequences of the same name apart."""
    return f"{item.path.parent}/{item.name}" if isinstance(item, VolumeFile) else item.name


def _told_apart(objects: list[EncodeItem]) -> list[EncodeItem]:
    """Return files of volumes, with their folders' names in front if some in different folders have one name.

    A number behind the name, as other objects get, would be taken for that of a frame.
    """
    if len({item.name for item in objects}) == len(objects):
        return objects
    folders = [item.path.absolute().parent for item in objects if isinstance(item, VolumeFile)]
    shared = Path(os.path.commonpath(folders)) if len(folders) == len(objects) else None
    if shared is None or len(set(folders)) == 1:
        return objects
    labels = ("_".join(folder.relative_to(shared).parts) for folder in folders)
    return [
        replace(item, name=f"{label}_{item.name}" if label else item.name)
        for item, label in zip(objects, labels, strict=True)
    ]


def _as_list(inputs: EncodeInput | Sequence[EncodeInput]) -> list[EncodeInput]:
    """Return one or several inputs as a list."""
    return [inputs] if isinstance(inputs, EncodeInput) else list(inputs)


def _called(item: EncodeInput) -> str:
    return item.name if isinstance(item, EncodeItem) else str(item)


def _content_of_item(item: EncodeInput) -> Content:
    """Return what one input is, or what is in a folder. Raises `InvalidRequestError` for several, or none."""
    if isinstance(item, EncodeItem):
        return _content_of_object(item)
    path = Path(item)
    if is_checkpoint_file(path):
        return "radiance"
    if not path.is_dir():
        return "volume" if volume_suffix(path) else "mesh"
    trained = checkpoints_below(path)
    others = [
        file
        for file in files_below(path, (*MESH_SUFFIXES, *VOLUME_SUFFIXES))
        if not is_checkpoint_file(file) and not is_checkpoint_file(file.parent)
    ]
    found: dict[Content, list[Path]] = {
        "mesh": [file for file in others if not volume_suffix(file)],
        # Pictures beside meshes are their textures.
        "volume": [file for file in others if volume_suffix(file) not in ("", ".tif", ".tiff")],
        "radiance": trained,
    }
    there = [(content, some[0]) for content, some in found.items() if some]
    if len(there) > 1:
        (first, one), (second, other) = there[:2]
        raise InvalidRequestError(
            f"The folder '{path}' holds {_IN_WORDS[first]} ('{one.name}') and {_IN_WORDS[second]} "
            f"('{other.name}'), and a file one or the other. Name the files, or the codec."
        )
    if there:
        return there[0][0]
    if not any(volume_suffix(file) for file in others):
        raise InvalidRequestError(
            f"The folder '{path}' holds no mesh ({', '.join(MESH_SUFFIXES)}), no volume "
            f"({', '.join(VOLUME_SUFFIXES)}) and no trained radiance field "
            f"({', '.join(CHECKPOINT_SUFFIXES)})."
        )
    return "volume"


def _content_of_object(item: EncodeItem) -> Content:
    if isinstance(item, SceneObject):
        return "mesh"
    return "volume" if isinstance(item, VolumeObject | VolumeFile) else "radiance"


def _fault_of_object(item: EncodeItem, content: Content) -> str | None:
    """Return why an object cannot be put into a file, whatever its geometry, or None."""
    if _content_of_object(item) != content:
        return f"it is no {_IN_WORDS[content].removeprefix('a ')}, which is all that this file holds"
    name_bytes = len(item.name.encode("utf-8", "surrogatepass"))
    if name_bytes > MAX_NAME_BYTES or not _is_unicode(item.name):
        return f"its name has {name_bytes} bytes, of {MAX_NAME_BYTES} at most, or is no valid Unicode"
    if len(item.host) > MAX_HOST_BYTES:
        return f"its host data have {len(item.host)} bytes; there is room for {MAX_HOST_BYTES}"
    transform = np.asarray(item.transform)
    if transform.shape != (4, 4):
        return f"its transform has the shape {transform.shape}, not (4, 4)"
    if not np.isfinite(transform).all() or not np.array_equal(transform[3], (0.0, 0.0, 0.0, 1.0)):
        return "its transform is not an affine map of finite numbers"
    return _fault_of_mesh(item.mesh) if isinstance(item, SceneObject) else None


def _fault_of_mesh(mesh: TriangleMesh) -> str | None:
    """Return what is wrong with the shape or type of a mesh's arrays, or None."""
    for name, array in (("vertices", mesh.vertices), ("faces", mesh.faces)):
        if array.ndim != 2 or array.shape[1] != 3:
            return f"its {name} have the shape {array.shape}, not (n, 3)"
    if not np.issubdtype(mesh.faces.dtype, np.integer):
        return f"its faces are {mesh.faces.dtype} numbers, not integers"
    return None


def _is_unicode(text: str) -> bool:
    """Tell whether a text can be written as UTF-8: half a surrogate pair cannot."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _content_key(item: EncodeItem) -> bytes:
    """Return the same bytes for the same geometry, and for the same files of a volume or field.

    Volumes and fields in memory are never taken for copies of each other: comparing them would take too long.
    """
    digest = hashlib.blake2b(digest_size=16)
    if isinstance(item, VolumeFile):
        digest.update(b"file" + os.fsencode(item.path.resolve()))
        return digest.digest()
    if isinstance(item, CheckpointFile):
        for path in item.paths:
            digest.update(b"file" + os.fsencode(path.resolve()))
        return digest.digest()
    if isinstance(item, VolumeObject | RadianceObject):
        digest.update(b"name" + item.name.encode("utf-8"))
        return digest.digest()
    for array in (item.mesh.vertices, item.mesh.faces):
        digest.update(np.ascontiguousarray(array).data)
        digest.update(str((array.shape, array.dtype)).encode())
    return digest.digest()


def originals(objects: Sequence[EncodeItem]) -> list[EncodeItem]:
    """Return the first object of every geometry; the others will share its sections."""
    first: dict[bytes, EncodeItem] = {}
    for item in objects:
        first.setdefault(_content_key(item), item)
    return list(first.values())


def sizes_of(objects: Sequence[EncodeItem], coded: CodedSet) -> dict[str, ContentSize]:
    """Return how large each object was, copies included."""
    of_files = {_content_key(item.source): item.size for item in coded.objects}
    sizes = {}
    for item in objects:
        found = of_files.get(_content_key(item))
        if isinstance(item, SceneObject):
            # A copy may come from a file of another size.
            area_left = 1.0 if found is None else found.area_left
            sizes[item.name] = replace(ContentSize.of(item), area_left=area_left)
        elif found is not None:
            sizes[item.name] = found
    return sizes


def records_of(
    objects: Sequence[EncodeItem], coded: CodedSet, failures: Sequence[ObjectFailure], first_index: int
) -> tuple[list[ObjectRecord], list[ObjectFailure]]:
    """Return the file's records in the order of the input, and all failures, those of copies included."""
    sections = {item.source.name: item.sections for item in coded.objects}
    reasons = {failure.name: failure.reason for failure in coded.failures}
    records: list[ObjectRecord] = []
    all_failures = [*failures]
    place_of: dict[bytes, int | str] = {}
    for item in objects:
        key = _content_key(item)
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
