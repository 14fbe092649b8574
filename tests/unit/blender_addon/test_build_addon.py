"""The extension zip: the same bytes on every build, everything in it, nothing compiled."""

import importlib.util
import io
import re
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[3]

spec = importlib.util.spec_from_file_location("build_addon", CHECKOUT / "build_addon.py")
build_addon = importlib.util.module_from_spec(spec)
spec.loader.exec_module(build_addon)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return build_addon.build(tmp_path_factory.mktemp("dist"))


def members(archive):
    with zipfile.ZipFile(archive) as file:
        return {name: file.read(name) for name in file.namelist()}


def test_a_second_build_has_the_same_bytes(archive, tmp_path):
    assert build_addon.build(tmp_path).read_bytes() == archive.read_bytes()


def test_the_zip_holds_the_add_on_the_protocol_and_the_backend(archive):
    found = members(archive)
    protocol = CHECKOUT / "backend" / "scene_codec" / "service" / "protocol.py"
    assert found["protocol.py"] == protocol.read_bytes()
    assert {"__init__.py", "blender_manifest.toml", "LICENSE"} <= set(found)
    assert {"backend_wheel/requirements.txt", "operators/encode.py"} <= set(found)
    wheels = [name for name in found if name.endswith(".whl")]
    assert len(wheels) == 1
    with zipfile.ZipFile(io.BytesIO(found[wheels[0]])) as wheel:
        assert wheel.read("scene_codec/service/protocol.py") == protocol.read_bytes()


def test_nothing_in_the_zip_is_compiled_or_left_over(archive):
    suffixes = {Path(name).suffix for name in members(archive)}
    assert suffixes <= {".py", ".toml", ".txt", ".whl", ""}
    assert all(name.endswith("-none-any.whl") for name in members(archive) if name.endswith(".whl"))


def test_one_version_is_carried_everywhere(archive):
    version = tomllib.loads((CHECKOUT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    assert tomllib.loads(members(archive)["blender_manifest.toml"].decode())["version"] == version
    assert archive.name == f"scene_codec-{version}.zip"
    assert f"backend_wheel/scene_codec-{version}-py3-none-any.whl" in members(archive)


def test_two_versions_are_refused(monkeypatch, tmp_path):
    manifest = (build_addon.ADDON / "blender_manifest.toml").read_text("utf-8")
    other = re.sub(r'^version = ".*"$', 'version = "9.9.9"', manifest, flags=re.MULTILINE)
    (tmp_path / "blender_manifest.toml").write_text(other, "utf-8")
    monkeypatch.setattr(build_addon, "ADDON", tmp_path)
    with pytest.raises(build_addon.BuildError, match=r"9\.9\.9"):
        build_addon.build(tmp_path)


def test_the_permissions_keep_to_blenders_rules():
    manifest = tomllib.loads((build_addon.ADDON / "blender_manifest.toml").read_text("utf-8"))
    assert set(manifest["permissions"]) == {"files", "network"}
    for reason in (*manifest["permissions"].values(), manifest["tagline"]):
        assert len(reason) <= 64
        assert reason[-1].isalnum()
    assert manifest["blender_version_min"] == "4.2.0"
    assert "wheels" not in manifest


def test_validating_without_blender_says_what_is_missing(archive):
    with pytest.raises(build_addon.BuildError, match="no bpy wheel"):
        build_addon.validate(archive, Path(sys.executable))
