"""What the scenarios of volumes share: samples, Volume objects, encoding, comparing."""

import json
import os
import subprocess
from pathlib import Path

import bpy

from scenarios.laboratory import PYTHON, Laboratory

SAMPLES = Path(os.environ["SCENE_CODEC_TEST_CHECKOUT"]) / "tests" / "blender" / "volume_samples.py"


def make_samples(laboratory: Laboratory) -> Path:
    """Write the sample volumes into a folder of the laboratory and return it."""
    folder = Path(laboratory.path("proben ä"))
    folder.mkdir()
    _run("make", folder)
    return folder


def compare(one: Path, other: Path) -> dict:
    """Return what differs between two .vdb files, see `volume_samples.py`."""
    return json.loads(_run("compare", one, other))


def _run(*words: object) -> str:
    command = [PYTHON, str(SAMPLES), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def assert_within(found: dict, error: float) -> None:
    """Check that all grids are where they were, with the same active voxels, and values within `error`."""
    for name, grid in found.items():
        assert grid["same voxels"], (name, grid)
        assert grid["same place"], (name, grid)
        assert grid["error"] <= error, (name, grid)


def add_volume(path: Path, name: str) -> bpy.types.Object:
    """Add an object that shows a .vdb file."""
    volume = bpy.data.volumes.new(name)
    volume.filepath = str(path)
    obj = bpy.data.objects.new(name, volume)
    bpy.context.scene.collection.objects.link(obj)
    return obj


def add_sequence(folder: Path, name: str, first: int, count: int, start: int) -> bpy.types.Object:
    """Add an object that shows frames of the sample sequence."""
    obj = add_volume(folder / f"puff_{first:04d}.vdb", name)
    volume = obj.data
    volume.is_sequence = True
    volume.frame_start, volume.frame_duration, volume.frame_offset = start, count, first - 1
    return obj


def encode_volumes(
    laboratory: Laboratory, *objects: bpy.types.Object, name: str = "szene 文.nscene", **properties
) -> str:
    """Encode the volumes of these objects and return the file's path."""
    bpy.context.view_layer.update()
    for obj in bpy.context.view_layer.objects:
        obj.select_set(obj in objects)
    done = bpy.ops.scene_codec.encode_volumes(filepath=laboratory.path(name), **properties)
    assert done == {"FINISHED"}
    return laboratory.path(name)


def last_result() -> dict:
    """Return the result of the last job."""
    return json.loads(bpy.context.window_manager.scene_codec_last_result)
