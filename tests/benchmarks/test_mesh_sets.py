"""Whole sets of real meshes through the whole command line; they are not part of the project.

Set SCENE_CODEC_MESH_DATA to a folder that holds sets of meshes: folders of mesh files, at the top or below
`sets`.
"""

import os
from pathlib import Path

import pytest

from measurement.mesh_sets import SUFFIXES, set_files
from measurement.set_run import SetRun, run_set

VARIABLE = "SCENE_CODEC_MESH_DATA"


def sets():
    """Return the folders that hold meshes."""
    data = os.environ.get(VARIABLE)
    if not data:
        reason = f"no meshes: {VARIABLE} does not name a folder of mesh sets"
        return [pytest.param(None, marks=pytest.mark.skip(reason=reason), id="no data")]
    folders = [folder for folder in (*Path(data).iterdir(), *Path(data).glob("sets/*")) if folder.is_dir()]
    found = [
        folder for folder in folders if any(path.suffix.lower() in SUFFIXES for path in folder.iterdir())
    ]
    return [pytest.param(folder, id=folder.name) for folder in sorted(found)]


@pytest.mark.timeout(4 * 3600)
@pytest.mark.parametrize("folder", sets())
def test_every_mesh_of_a_set_comes_back_or_is_named_with_its_reason(folder, tmp_path):
    files = set_files(folder.parent, folder.name)
    trip = run_set(SetRun(tuple(files), preset="fast", keep=tmp_path))
    came_back = {item["name"] for item in trip.evaluate.report["objects"]}
    named = {
        failure["name"] for failure in (*trip.encode.report["failures"], *trip.evaluate.report["failures"])
    }
    assert all(failure["reason"] for failure in trip.encode.report["failures"])
    missing = {path.stem for path in files} - came_back - named - {Path(name).stem for name in named}
    assert not missing
    assert len(trip.decode.report["objects"]) == len(trip.inspect.report["objects"])
