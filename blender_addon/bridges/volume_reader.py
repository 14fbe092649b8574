"""From objects with a volume to what the backend is sent, one frame at a time."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy
from mathutils import Matrix, Vector

from ..numbered_files import FileSequence, find_sequences, frame_name
from . import host_record
from .host_record import DataReference, HostRecord, MaterialSlot
from .object_reader import (
    ObjectReader,
    UnreadableObjectError,
    evaluable,
    existing_object,
    material_slots,
    matrix_to_values,
    reference_to,
    world_transform,
)
from .volume_bridge import (
    FrameFile,
    evaluated_volume,
    frame_files,
    packed_bytes,
    read_settings,
    save_grids,
    scene_frame,
    seen_volume,
)
from .volume_record import VolumeRecord, sequence_settings

FRAME_DIGITS = 4

Sent = dict[str, Any]
"""What the protocol calls an OBJECT."""


class VolumeReader:
    """Turns objects and folders into the protocol's OBJECT records; each frame of a sequence is one.

    Files of volumes without modifiers are sent as they are; all else is saved to `folder`, a frame a step.
    """

    def __init__(self, scene: bpy.types.Scene, folder: Path, *, apply_modifiers: bool) -> None:
        self._objects = ObjectReader(scene)
        self._folder = folder
        self._apply_modifiers = apply_modifiers

    def read(self, reference: DataReference) -> Iterator[Sent]:
        """Yield the frames of one object, or its one volume. The object may vanish between two of them.

        Raises `UnreadableObjectError` when it has no volume, or vanished.
        """
        obj = existing_object(reference)
        domain = fluid_domain(obj)
        if domain is not None:
            yield from self._cache(obj, domain)
        elif obj.type == "VOLUME" and not (self._apply_modifiers and _has_modifiers(obj)):
            yield from self._files(obj)
        else:
            yield from self._seen(obj)

    def read_folder(self, root: Path) -> Iterator[Sent]:
        """Yield all .vdb files below a folder, numbered ones as sequences. Raises `UnreadableObjectError`."""
        sequences = find_sequences(root)
        if not sequences:
            raise UnreadableObjectError(f"There are no .vdb files in {root}.")
        for sequence in sequences:
            name = sequence.name.prefix.rstrip("_-. ") if sequence.name else sequence.files[0].stem
            yield from self._cached("_".join((*sequence.folder, name or "volume")), sequence, Matrix(), ())

    def _files(self, obj: bpy.types.Object) -> Iterator[Sent]:
        """Yield the files of a volume whose grids are those on disk, or packed into the .blend file."""
        with evaluable(obj) as (source, depsgraph):
            transform = world_transform(source, depsgraph)
        try:
            files = frame_files(obj.data)
        except UnreadableObjectError:
            packed = packed_bytes(obj.data)
            if packed is None:
                raise
            files = [FrameFile(self._temporary(packed), None)]
        name = self._objects.unique_name(obj, _endings(files))
        host = self._host(obj, obj.data, files[0])
        for index, file in enumerate(files):
            yield _sent(name, file, transform, host if index == 0 else _later_frame(name, files[0], file))

    def _seen(self, obj: bpy.types.Object) -> Iterator[Sent]:
        """Yield the volume as it is seen, with its modifiers; of a sequence every frame, each evaluated."""
        reference = reference_to(obj)
        frames = [FrameFile(Path(), None)]
        if obj.type == "VOLUME" and obj.data.is_sequence and obj.data.filepath:
            frames = frame_files(obj.data)
        with evaluable(obj) as (source, depsgraph):
            transform = world_transform(source, depsgraph)
        name, host = "", {}
        for index, frame in enumerate(frames):
            obj = existing_object(reference)
            at = None if frame.number is None else scene_frame(obj.data, frame.number)
            file = FrameFile(self._folder / f"{uuid.uuid4().hex}.vdb", frame.number)
            with evaluable(obj, at) as (source, depsgraph):
                volume = seen_volume(source, depsgraph)
                save_grids(volume, file.path)
                if index == 0:
                    name = self._objects.unique_name(obj, _endings(frames))
                    host = self._host(obj, volume, frame)
            yield _sent(name, file, transform, host if index == 0 else _later_frame(name, frames[0], file))

    def _cache(self, obj: bpy.types.Object, domain: bpy.types.FluidDomainSettings) -> Iterator[Sent]:
        """Yield the baked frames of a fluid domain: its data and its noise are a sequence each."""
        root = Path(bpy.path.abspath(domain.cache_directory, library=obj.library))
        sequences = [found for found in find_sequences(root) if found.folder in (("data",), ("noise",))]
        if not sequences:
            raise UnreadableObjectError(
                f"No OpenVDB files are in its cache {root}. Bake it with the format OpenVDB first."
            )
        with evaluable(obj) as (source, depsgraph):
            world = source.evaluated_get(depsgraph).matrix_world.copy()
        collections, resolution = self._objects.collections(obj), domain.resolution_max
        places = {
            "data": _place_of_cache(obj.data, world, resolution),
            "noise": _place_of_cache(obj.data, world, resolution * domain.noise_scale),
        }
        for sequence in sequences:
            kind = sequence.folder[0]
            yield from self._cached(f"{obj.name} {kind}", sequence, places[kind], collections)

    def _cached(
        self, name: str, sequence: FileSequence, place: Matrix, collections: tuple[tuple[str, ...], ...]
    ) -> Iterator[Sent]:
        """Yield files that no Volume object refers to."""
        numbers = [frame_name(path.stem).number for path in sequence.files] if sequence.name else [None]
        files = [FrameFile(path, number) for path, number in zip(sequence.files, numbers, strict=True)]
        name = self._objects.free_name(name, _endings(files))
        settings = sequence_settings(numbers) if sequence.name else {}
        volume = VolumeRecord(name, settings, files[0].path.name, sequence.folder, files[0].number)
        record = HostRecord(object=DataReference(name), volume=volume, collections=collections)
        host, transform = host_record.to_json(record), matrix_to_values(place)
        for index, file in enumerate(files):
            yield _sent(name, file, transform, host if index == 0 else _later_frame(name, files[0], file))

    def _host(self, obj: bpy.types.Object, shown: bpy.types.Volume, first: FrameFile) -> dict[str, Any]:
        """Return the record of an object whose volume is `shown`; of a sequence, that of its first frame."""
        materials = tuple(reference_to(item.original) if item else None for item in shown.materials)
        if obj.type == "VOLUME":
            settings, name = read_settings(obj.data), obj.data.name
            slots = material_slots(obj, materials)
        else:  # geometry nodes made it: the object's own slots are those of its own kind of data
            settings, name = read_settings(shown), obj.name
            slots = tuple(MaterialSlot(material) for material in materials)
        if first.number is None:
            settings.pop("is_sequence", None)
        file = Path(obj.data.filepath).name if obj.type == "VOLUME" and obj.data.filepath else ""
        volume = VolumeRecord(name, settings, file, frame=first.number)
        return self._objects.host(obj, HostRecord(volume=volume, materials=slots))

    def _temporary(self, content: bytes) -> Path:
        path = self._folder / f"{uuid.uuid4().hex}.vdb"
        path.write_bytes(content)
        return path


def has_volume(obj: bpy.types.Object) -> bool:
    """Return whether an object is a volume, a fluid domain, or has geometry nodes that make a volume."""
    if obj.type == "VOLUME" or fluid_domain(obj) is not None:
        return True
    if not any(modifier.type == "NODES" for modifier in obj.modifiers):
        return False
    with evaluable(obj) as (source, depsgraph):
        return evaluated_volume(source, depsgraph) is not None


def fluid_domain(obj: bpy.types.Object) -> bpy.types.FluidDomainSettings | None:
    """Return the settings of the fluid domain that an object is, or None."""
    for modifier in obj.modifiers:
        if modifier.type == "FLUID" and modifier.fluid_type == "DOMAIN":
            return modifier.domain_settings
    return None


def _has_modifiers(obj: bpy.types.Object) -> bool:
    return any(modifier.show_viewport for modifier in obj.modifiers)


def _place_of_cache(box: bpy.types.Mesh, world: Matrix, resolution: int) -> Matrix:
    """Return where the files of a fluid domain stand.

    Mantaflow counts from the domain's lowest corner on, in the scene's own size, and puts the middle of the
    first cell half its width away, where OpenVDB puts it at 0.
    """
    corners = [vertex.co for vertex in box.vertices]
    low = Vector(min(corner[axis] for corner in corners) for axis in range(3))
    high = Vector(max(corner[axis] for corner in corners) for axis in range(3))
    _, rotation, scale = world.decompose()
    voxel = max(abs((high - low)[axis] * scale[axis]) for axis in range(3)) / max(resolution, 1)
    half = rotation @ Vector((voxel / 2,) * 3)
    return Matrix.LocRotScale(world @ low + half, rotation, None)


def _ending(file: FrameFile) -> str:
    return "" if file.number is None else f"_{file.number:0{FRAME_DIGITS}d}"


def _endings(files: list[FrameFile]) -> list[str]:
    return [_ending(file) for file in files]


def _sent(name: str, file: FrameFile, transform: list[float], host: dict[str, Any]) -> Sent:
    return {"name": name + _ending(file), "volume": str(file.path), "transform": transform, "host": host}


def _later_frame(name: str, first: FrameFile, file: FrameFile) -> dict[str, Any]:
    """Return the record of a frame behind the first one, which has the record of them all."""
    volume = VolumeRecord(frame=file.number, first=name + _ending(first))
    return host_record.to_json(HostRecord(volume=volume))
