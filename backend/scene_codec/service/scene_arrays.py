"""Objects of the host <-> meshes and volumes: arrays come and go as `.npy` files, volumes as `.vdb` files."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scene_codec.errors import InvalidRequestError
from scene_codec.geometry.scene_object import SceneObject, TriangleMesh
from scene_codec.service.requests import ObjectParams, absolute_path
from scene_codec.volumes.volume import VolumeObject
from scene_codec.volumes.volume_files import save_volume
from scene_codec.volumes.volume_source import VolumeFile

MAX_ROWS = 2**28
"""Most vertices or faces of one object: 6 GB of coordinates, so it only stops nonsense."""

logger = logging.getLogger(__name__)


def read_object(params: ObjectParams) -> SceneObject | VolumeFile:
    """Return the object the host described; a volume's file is read when its turn comes.

    Raises `InvalidRequestError` naming the object and the array.
    """
    where = f"of {params.name!r}"
    transform = np.array(params.transform, dtype=np.float64).reshape(4, 4)
    if not np.isfinite(transform).all():
        raise InvalidRequestError(f"The transform {where} has a number that is not finite.")
    if params.vertices is None or params.faces is None:
        path = absolute_path(f"volume {where}", params.volume or "")
        return VolumeFile(params.name, path, transform, params.host_bytes())
    vertices = _read_rows(params.vertices, (np.float32, np.float64), f"vertices {where}")
    faces = _read_rows(params.faces, (np.int32, np.int64), f"faces {where}")
    mesh = TriangleMesh(vertices=vertices.astype(np.float64), faces=faces.astype(np.int64))
    return SceneObject(name=params.name, mesh=mesh, transform=transform, host=params.host_bytes())


def _read_rows(text: str, allowed: tuple[type, ...], what: str) -> NDArray[Any]:
    path = absolute_path(what, text)
    try:
        rows = np.lib.format.open_memmap(path, mode="r")
    except Exception as problem:  # numpy hands the header to Python's parser, which raises a dozen kinds
        raise InvalidRequestError(f"The file with the {what} cannot be read: {path}: {problem}.") from problem
    if rows.dtype not in [np.dtype(kind) for kind in allowed]:
        words = " or ".join(np.dtype(kind).name for kind in allowed)
        raise InvalidRequestError(f"The {what} have the type {rows.dtype}; it must be {words}.")
    if rows.ndim != 2 or rows.shape[1] != 3 or len(rows) > MAX_ROWS:
        raise InvalidRequestError(f"The {what} have the shape {rows.shape}, not (n, 3) with n <= {MAX_ROWS}.")
    return rows


def write_object(item: SceneObject | VolumeObject, folder: Path, index: int) -> dict[str, Any]:
    """Write an object's arrays, or its .vdb file, to `folder` and return its description for the host.

    Names of files come from `index` alone: the object's name is whatever a file says.
    Raises `UnsupportedSceneError` for a volume that .vdb files cannot hold.
    """
    stem = f"{index:06d}"
    if isinstance(item, VolumeObject):
        path = folder / f"{stem}.vdb"
        save_volume(item, path)
        content = {"volume": str(path)}
    else:
        content = {
            "vertices": _write_array(folder / f"{stem}-vertices.npy", item.mesh.vertices),
            "faces": _write_array(folder / f"{stem}-faces.npy", item.mesh.faces),
        }
    return {
        "name": item.name,
        **content,
        "transform": [float(value) for value in item.transform.reshape(16)],
        "host": host_object(item),
    }


def _write_array(path: Path, array: NDArray[Any]) -> str:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    with os.fdopen(descriptor, "wb") as stream:
        np.lib.format.write_array(stream, np.ascontiguousarray(array), allow_pickle=False)
        stream.flush()
    Path(temporary).replace(path)
    return str(path)


def host_object(item: SceneObject | VolumeObject) -> dict[str, Any]:
    """Return what the host kept with the object, or nothing if another kind of host wrote it."""
    if not item.host:
        return {}
    try:
        value = json.loads(item.host, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        logger.warning("%r carries data of another application, which was left aside", item.name)
        return {}
    return value


def _refuse_constant(word: str) -> float:
    raise ValueError(f"{word} is not JSON")
