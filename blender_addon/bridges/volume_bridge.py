"""Blender's volumes to .vdb files and back. The files of unchanged volumes are used as they are."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import bpy

from ..numbered_files import frame_name
from .object_reader import UnreadableObjectError, type_label
from .volume_record import DEFAULTS, Setting, VolumeRecord


@dataclass(frozen=True)
class FrameFile:
    """One file of a volume; `number` is its frame in the file's name, None when it is no sequence."""

    path: Path
    number: int | None


def frame_files(volume: bpy.types.Volume) -> list[FrameFile]:
    """Return the files that a volume shows at one frame or another, as far as they are there, in order.

    Nothing is loaded. Raises `UnreadableObjectError` when there is none.
    """
    if not volume.filepath:
        raise UnreadableObjectError("It has no file.")
    path = Path(bpy.path.abspath(volume.filepath, library=volume.library))
    name = frame_name(path.stem) if volume.is_sequence else None
    if name is None:
        if not path.is_file():
            raise UnreadableObjectError(f"Its file is missing: {path}.")
        return [FrameFile(path, None)]
    found = []
    for number in shown_frames(volume):
        file = path.with_name(name.of_frame(number) + path.suffix)
        if file.is_file():
            found.append(FrameFile(file, number))
    if not found:
        raise UnreadableObjectError(f"None of the frames that it shows is in {path.parent}.")
    return found


def shown_frames(volume: bpy.types.Volume) -> range:
    """Return the numbers of the frames that a sequence may show."""
    first = volume.frame_offset + 1
    return range(max(first, 0), max(first + volume.frame_duration, 0))


def scene_frame(volume: bpy.types.Volume, number: int) -> int:
    """Return the frame of the scene at which a sequence shows its frame `number` for the first time."""
    return volume.frame_start + number - volume.frame_offset - 1


def packed_bytes(volume: bpy.types.Volume) -> bytes | None:
    """Return the file that is packed into the .blend file, or None. Blender reads only files on disk."""
    return bytes(volume.packed_file.data) if volume.packed_file is not None else None


def seen_volume(obj: bpy.types.Object, depsgraph: bpy.types.Depsgraph) -> bpy.types.Volume:
    """Return the evaluated volume of an object: with its modifiers, or what its geometry nodes make.

    Raises `UnreadableObjectError` when there is none, or it is empty.
    """
    volume = evaluated_volume(obj, depsgraph)
    if volume is None:
        raise UnreadableObjectError(f"A {type_label(obj)} without volume modifiers has no volume.")
    if not volume.grids.load() and volume.grids.error_message:
        raise UnreadableObjectError(f"Blender cannot load it: {volume.grids.error_message}.")
    if len(volume.grids) == 0:
        raise UnreadableObjectError("It has no grids.")
    return volume


def evaluated_volume(obj: bpy.types.Object, depsgraph: bpy.types.Depsgraph) -> bpy.types.Volume | None:
    """Return what an object shows as a volume, or None."""
    if obj.type == "VOLUME":
        return obj.evaluated_get(depsgraph).data
    # What geometry nodes make beside or instead of the object's own kind shows up as an instance of it.
    for instance in depsgraph.object_instances:
        if instance.object.type == "VOLUME" and instance.object.original == obj:
            return instance.object.data
    return None


def save_grids(volume: bpy.types.Volume, path: Path) -> None:
    """Write the grids to a file. Raises `UnreadableObjectError` with Blender's words."""
    try:
        saved = volume.grids.save(str(path))
    except RuntimeError as problem:
        raise UnreadableObjectError(f"Blender cannot save its grids: {problem}") from problem
    if not saved or not path.is_file():
        raise UnreadableObjectError("Blender cannot save its grids.")


def read_settings(volume: bpy.types.Volume) -> dict[str, Setting]:
    """Return the settings of a volume data-block that differ from those of a new one."""
    found: dict[str, Setting] = {}
    for path, default in DEFAULTS.items():
        with contextlib.suppress(ValueError):  # a Blender that does not have it
            value = volume.path_resolve(path)
            if isinstance(default, float):
                value = float(f"{value:.7g}")  # what a float32 holds, without the digits of its rounding
            if value != default:
                found[path] = value
    return found


def make_volume_paths_relative(names: Iterable[str]) -> bool:
    """Let the volumes of these objects find their files from the .blend file; returns whether any changed."""
    changed = False
    for name in names:
        obj = bpy.data.objects.get((name, None))
        if obj is not None and obj.type == "VOLUME":
            with contextlib.suppress(ValueError):  # on another drive
                obj.data.filepath = bpy.path.relpath(obj.data.filepath)
                changed = True
    return changed


def write_volume(name: str, record: VolumeRecord, filepath: str) -> bpy.types.Volume:
    """Make a volume data-block without users that shows a file, or the sequence that the file belongs to."""
    volume = bpy.data.volumes.new(name)
    volume.filepath = filepath
    for setting, default in DEFAULTS.items():
        value = record.settings.get(setting, default)
        # An enum's word, or the setting itself, may be unknown to this Blender.
        with contextlib.suppress(AttributeError, TypeError, ValueError, OverflowError):
            if volume.path_resolve(setting) == value:
                continue
            if setting == "velocity_grid":
                volume.grids.load()  # Blender takes names of grids only that it knows
            owner, _, leaf = setting.rpartition(".")
            setattr(volume.path_resolve(owner) if owner else volume, leaf, value)
    return volume
