"""The preferences: which Python runs the backend, and what installing and removing says."""

import os
from pathlib import Path

import bpy

from scenarios.laboratory import MODULE, PYTHON, Laboratory, failure_of


def without_a_network_the_words_say_what_to_do(laboratory: Laboratory) -> None:
    preferences = _preferences_alone()
    assert not bpy.app.online_access
    words = failure_of(bpy.ops.scene_codec.install_backend)
    assert "may not use the network" in words
    assert "choose a folder of wheels" in words
    preferences.wheel_folder = str(laboratory.folder)
    assert "no wheels" in failure_of(bpy.ops.scene_codec.install_backend)
    assert laboratory.part("preferences").backend_python() is None
    assert bpy.ops.scene_codec.remove_backend() == {"FINISHED"}


def an_installation_that_fails_leaves_nothing_behind(laboratory: Laboratory) -> None:
    preferences = _preferences_alone()
    wheels, environments = laboratory.folder / "wheels", laboratory.folder / "environments"
    wheels.mkdir()
    (wheels / "torch-0-py3-none-any.whl").write_bytes(b"no wheel")
    preferences.wheel_folder, preferences.environment_folder = str(wheels), str(environments)
    preferences.base_python = PYTHON
    words = failure_of(bpy.ops.scene_codec.install_backend)
    assert "failed" in words
    assert [path for path in environments.iterdir() if path.is_dir()] == []
    job = laboratory.part("jobs").listed()[0]
    assert any("Making the environment" in line for line in job.log)


def an_installation_can_be_cancelled(laboratory: Laboratory) -> None:
    preferences = _preferences_alone()
    wheels, environments = laboratory.folder / "wheels", laboratory.folder / "environments"
    wheels.mkdir()
    (wheels / "torch-0-py3-none-any.whl").write_bytes(b"no wheel")
    preferences.wheel_folder, preferences.environment_folder = str(wheels), str(environments)
    jobs, environment = laboratory.part("jobs"), laboratory.part("operators.environment")
    request = environment._install_request()
    job = jobs.start("environment", "Install", lambda job: environment._install_steps(job, request))
    jobs.advance(job.id, 0.0)
    assert not bpy.ops.scene_codec.install_backend.poll()
    jobs.cancel(job.id)
    jobs.run_to_end(job, lambda: None)
    assert job.state is jobs.JobState.CANCELLED
    assert not environments.exists() or [path for path in environments.iterdir() if path.is_dir()] == []
    assert bpy.ops.scene_codec.install_backend.poll()


def a_chosen_python_runs_the_backend(laboratory: Laboratory) -> None:
    launcher = os.environ["SCENE_CODEC_BACKEND_PYTHON"]
    preferences = _preferences_alone()
    preferences.backend_source, preferences.python_path = "CHOSEN", launcher
    assert bpy.ops.scene_codec.list_presets() == {"FINISHED"}
    preferences.python_path = ""
    laboratory.kill_backend()
    assert "not installed" in failure_of(bpy.ops.scene_codec.list_presets)


def the_cache_folder_is_used_and_emptied(laboratory: Laboratory) -> None:
    preferences = bpy.context.preferences.addons[MODULE].preferences
    cache = laboratory.folder / "cache"
    preferences.cache_folder = str(cache)
    bpy.ops.mesh.primitive_cube_add()
    path = laboratory.path("x.nscene")
    assert "does not exist" in failure_of(bpy.ops.scene_codec.encode_selected, filepath=path)
    cache.mkdir()
    laboratory.decode(laboratory.encode(bpy.context.object))
    assert list(cache.iterdir()) == []


def the_log_can_be_read_in_blender(laboratory: Laboratory) -> None:
    assert bpy.ops.scene_codec.list_presets() == {"FINISHED"}
    assert Path(laboratory.part("preferences").backend_log_path()).is_file()
    assert bpy.ops.scene_codec.show_log() == {"FINISHED"}
    assert "fake backend started" in bpy.data.texts["Scene Codec Log"].as_string()
    assert bpy.ops.scene_codec.restart_backend() == {"FINISHED"}
    assert not bpy.ops.scene_codec.restart_backend.poll()


def _preferences_alone() -> bpy.types.AddonPreferences:
    """Return the add-on's preferences, with no variable that wins over them."""
    os.environ.pop("SCENE_CODEC_BACKEND_PYTHON")
    return bpy.context.preferences.addons[MODULE].preferences
