"""The zip before Blender's own judge, and the headless script as a user starts it."""

import json
import subprocess
import zipfile
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "encode_blend.py"

MAKE_BLEND = """
import bpy, os, sys
bpy.ops.mesh.primitive_monkey_add(location=(3, 0, 0))
bpy.context.object.hide_set(True)
bpy.ops.wm.save_as_mainfile(filepath=sys.argv[-1])
sys.stdout.flush()
os._exit(0)
"""


@pytest.mark.blender
def test_blenders_extension_tool_accepts_the_zip(blender, archive, validate):
    assert "Success" in validate(archive, Path(blender.python))


@pytest.mark.blender
def test_blenders_extension_tool_refuses_a_broken_manifest(blender, archive, validate, tmp_path):
    broken = tmp_path / "broken.zip"
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(broken, "w") as target:
        manifest = source.read("blender_manifest.toml").decode()
        target.writestr("blender_manifest.toml", manifest.replace('when asked"', 'when asked."'))
        target.writestr("__init__.py", "")
    with pytest.raises(Exception, match="refuses"):
        validate(broken, Path(blender.python))


@pytest.mark.blender
def test_the_script_encodes_every_mesh_of_a_blend_file(blender, fake_backend, tmp_path):
    blend, output = tmp_path / "größe ö.blend", tmp_path / "alles.nscene"
    run = {"capture_output": True, "text": True, "encoding": "utf-8", "timeout": 240, "check": False}
    made = subprocess.run([blender.python, "-c", MAKE_BLEND, str(blend)], env=blender.environment(), **run)
    assert made.returncode == 0, made.stderr
    environment = blender.environment(SCENE_CODEC_BACKEND_PYTHON=fake_backend)
    command = [blender.python, str(SCRIPT), str(blend), "-o", str(output), "--json"]
    done = subprocess.run(command, env=environment, **run)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.strip().splitlines()[-1])
    assert {stored["name"] for stored in report["objects"]} == {"Cube", "Suzanne"}
    assert output.stat().st_size == report["file_bytes"]
    missing = [blender.python, str(SCRIPT), str(tmp_path / "none.blend"), "-o", str(output)]
    failed = subprocess.run(missing, env=environment, **run)
    assert failed.returncode == 1
    assert "none.blend" in failed.stderr
