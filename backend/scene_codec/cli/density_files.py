"""Radiance fields decoded into what other programs open: a mesh of the surface, or a volume of densities."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from scene_codec.errors import InvalidRequestError
from scene_codec.geometry.mesh_files import WRITABLE_SUFFIXES, save_scene_object
from scene_codec.geometry.scene_object import SceneObject
from scene_codec.progress import Progress
from scene_codec.radiance.radiance_object import RadianceObject
from scene_codec.volumes.volume import VolumeGrid, VolumeObject
from scene_codec.volumes.volume_files import save_volume

DEFAULT_FORMAT = "ply"


def write_density(
    item: RadianceObject, path: Path, resolution: int | None, threshold: float | None, progress: Progress
) -> tuple[int, int, int]:
    """Write a field's density in the format of the suffix; return the numbers of vertices, faces and voxels.

    threshold : density of the surface of a mesh, None for the usual one

    Raises `InvalidRequestError`, `UnsupportedSceneError` where there is no surface, `Cancelled`.
    """
    from scene_codec.radiance.density_surface import DEFAULT_RESOLUTION, density_mesh

    resolution = DEFAULT_RESOLUTION if resolution is None else resolution
    if path.suffix.lower() in WRITABLE_SUFFIXES:
        mesh = density_mesh(item.field, resolution, threshold, progress)
        save_scene_object(SceneObject(item.name, mesh, item.transform), path)
        return len(mesh.vertices), len(mesh.faces), 0
    if threshold is not None:
        raise InvalidRequestError("--threshold says where a mesh's surface is; a volume has all densities.")
    volume = density_volume(item, resolution, path.suffix.lower(), progress)
    save_volume(volume, path)
    return 0, 0, volume.grids[0].values.size


def density_volume(item: RadianceObject, resolution: int, suffix: str, progress: Progress) -> VolumeObject:
    """Return a field's densities as a volume in the field's space; .npy files have no place for a place."""
    from scene_codec.radiance.density_surface import density_grid

    grid = density_grid(item.field, resolution, progress=progress)
    to_object = np.diag([*grid.spacing, 1.0])
    to_object[:3, 3] = grid.low
    transform = item.transform
    if suffix == ".npy":
        to_object, transform = np.eye(4), np.eye(4)
    density = VolumeGrid("density", grid.values, to_object=to_object, kind="fog volume")
    return VolumeObject(item.name, (density,), transform, file_format=suffix[1:])
