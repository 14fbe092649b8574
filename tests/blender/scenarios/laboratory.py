"""What all scenarios need: the add-on enabled, backends of every temper, scenes to compare."""

import hashlib
import importlib
import os
import sys
import time
from pathlib import Path

import addon_utils
import bpy
import numpy as np
from fake_launcher import write_launcher

MODULE = "bl_ext.user_default.scene_codec"
PYTHON = os.environ["SCENE_CODEC_TEST_PYTHON"]


class Laboratory:
    """One scenario's own folder, and the add-on in this Blender."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "arbeit ö"
        self.folder.mkdir(exist_ok=True)
        self.archive = os.environ["SCENE_CODEC_TEST_ARCHIVE"]
        bpy.ops.wm.read_factory_settings(use_empty=True)

    def enable_addon(self) -> None:
        """Enable the installed extension, with a backend that does everything right."""
        assert addon_utils.enable(MODULE, default_set=True) is not None
        self.use_fake_backend("well")

    def disable_addon(self) -> None:
        """Disable the extension."""
        addon_utils.disable(MODULE, default_set=True)

    def part(self, name: str):
        """Return one module of the enabled add-on."""
        return importlib.import_module(f"{MODULE}.{name}" if name else MODULE)

    def use_fake_backend(self, mode: str) -> None:
        """Let the next job start a stand-in backend that behaves as `mode` says."""
        self.kill_backend()
        self.use_python(write_launcher(self.folder, mode, PYTHON))

    def use_real_backend(self) -> None:
        """Let the next job start the backend of this checkout."""
        self.kill_backend()
        self.use_python(PYTHON)

    def use_python(self, python: str) -> None:
        """Name the backend's Python."""
        os.environ["SCENE_CODEC_BACKEND_PYTHON"] = python

    def kill_backend(self) -> None:
        """Stop the backend that runs now, if any."""
        session = sys.modules.get(f"{MODULE}.backend_session")
        if session is not None:
            session.close(0.0)

    def path(self, name: str) -> str:
        """Return the path of a file in the scenario's folder."""
        return str(self.folder / name)

    def encode(self, *objects: bpy.types.Object, name: str = "szene 文.nscene", **properties) -> str:
        """Encode these objects and return the file's path."""
        bpy.context.view_layer.update()
        for obj in bpy.context.view_layer.objects:
            obj.select_set(obj in objects)
        assert bpy.ops.scene_codec.encode_selected(filepath=self.path(name), **properties) == {"FINISHED"}
        return self.path(name)

    def decode(self, path: str, **properties) -> None:
        """Decode a file into the scene, as a script would, with an undo step."""
        assert bpy.ops.scene_codec.decode_file("EXEC_DEFAULT", True, filepath=path, **properties) == {
            "FINISHED"
        }


def advance_until(jobs, job, reached) -> None:
    """Work on a job until something is so, leaving the processor to the backend while the job waits."""
    while not reached():
        assert not job.finished, f"{job.state}: {job.error}"
        if jobs.advance(job.id, 0.0) is jobs.Step.WAIT:
            time.sleep(0.005)


def failure_of(operator, *objects, **properties) -> str:
    """Return the words of the error that an operator, or a call of one, ends with."""
    try:
        result = operator(*objects, **properties)
    except RuntimeError as problem:
        return str(problem)
    raise AssertionError(f"{operator} did not fail but returned {result}")


def delete(*objects: bpy.types.Object) -> None:
    """Delete objects with the data nobody else uses, as a user would who then purges."""
    bpy.data.batch_remove(list(objects))
    blocks = (*bpy.data.meshes, *bpy.data.volumes)
    bpy.data.batch_remove([block for block in blocks if block.users == 0])


def world_vertices(obj: bpy.types.Object) -> np.ndarray:
    """Return the vertices of an object's own mesh in the world, (v, 3) float64."""
    local = np.zeros((len(obj.data.vertices), 3), np.float32)
    obj.data.vertices.foreach_get("co", local.ravel())
    matrix = np.array(obj.matrix_world)
    return local @ matrix[:3, :3].T + matrix[:3, 3]


def evaluated_world_vertices(obj: bpy.types.Object) -> np.ndarray:
    """Return the vertices of an object as seen in the viewport, in the world."""
    evaluated = obj.evaluated_get(bpy.context.evaluated_depsgraph_get())
    mesh = evaluated.to_mesh()
    local = np.array([vertex.co for vertex in mesh.vertices])
    evaluated.to_mesh_clear()
    matrix = np.array(evaluated.matrix_world)
    return local @ matrix[:3, :3].T + matrix[:3, 3]


def snapshot() -> dict[str, object]:
    """Return everything in the file that a job could change by mistake."""
    blocks = {
        kind: sorted((block.name, block.users) for block in getattr(bpy.data, kind))
        for kind in (
            "objects",
            "meshes",
            "volumes",
            "materials",
            "collections",
            "scenes",
            "curves",
            "images",
            "texts",
        )
    }
    matrices = {obj.name: [tuple(row) for row in obj.matrix_world] for obj in bpy.data.objects}
    links = {collection.name: sorted(collection.objects.keys()) for collection in bpy.data.collections}
    selected = sorted(obj.name for obj in bpy.context.selected_objects)
    meshes = {mesh.name: _mesh_digest(mesh) for mesh in bpy.data.meshes}
    return {**blocks, "matrices": matrices, "links": links, "selected": selected, "geometry": meshes}


def _mesh_digest(mesh: bpy.types.Mesh) -> str:
    vertices = np.zeros(3 * len(mesh.vertices), np.float32)
    mesh.vertices.foreach_get("co", vertices)
    corners = np.zeros(len(mesh.loops), np.int32)
    mesh.loops.foreach_get("vertex_index", corners)
    return hashlib.sha256(vertices.tobytes() + corners.tobytes()).hexdigest()


def files_in(folder: Path) -> list[str]:
    """Return the names of all files below a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
