"""The backend's environment is made for real, from tiny wheels, in folders with spaces and accents."""

import importlib.util
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from scene_codec_addon import environment_install, python_search
from scene_codec_addon.backend_environment import (
    RECORD_NAME,
    describe_environment,
    environment_python,
    remove_environments,
)
from scene_codec_addon.backend_process import BackendError
from scene_codec_addon.environment_install import Installation, InstallRequest

_spec = importlib.util.spec_from_file_location("small_wheels", Path(__file__).with_name("small_wheels.py"))
small_wheels = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(small_wheels)

TIMEOUT_S = 600


@pytest.fixture
def request_of(tmp_path, monkeypatch):
    """Return a request to install a small backend from small wheels with venv and pip."""
    monkeypatch.setattr(environment_install, "NEEDED_BYTES", {"cpu": 1_000_000, "cuda": 1_000_000})
    monkeypatch.setattr(environment_install, "find_uv", lambda: None)
    small_wheels.write_backend_wheel(tmp_path / "extensiön" / "backend_wheel")
    small_wheels.write_offline_wheels(tmp_path / "öffline whéels")
    return InstallRequest(
        folder=tmp_path / "Bénutzer Ördner" / "backend",
        wheel_folder=tmp_path / "extensiön" / "backend_wheel",
        addon_version="0.1.0",
        python=sys.executable,
        offline_wheels=tmp_path / "öffline whéels",
    )


def install(request):
    installation = Installation(request)
    installation.start()
    installation.wait(TIMEOUT_S)
    assert installation.finished
    return installation


def describe(request):
    return describe_environment(request.folder, request.wheel_folder)


def environments(request):
    return sorted(path.name for path in request.folder.glob("env-*"))


def test_an_environment_is_made_described_repaired_replaced_and_removed(request_of):
    assert describe(request_of).state == "missing"
    first = install(request_of)
    assert (first.state, first.error) == ("done", None), first.poll()
    description = describe(request_of)
    assert (description.state, description.version, description.device) == ("ok", "0.1.0", "cpu")
    assert description.torch == "1.0"  # the pinned version, though a newer one was there
    assert description.size_bytes > 1_000_000
    python = environment_python(request_of.folder)
    packages = subprocess.run(
        [python, "-I", "-m", "pip", "list"], capture_output=True, text=True, check=True
    ).stdout
    assert "unrelated" not in packages

    python.unlink()
    assert describe(request_of).state == "broken"
    assert environment_python(request_of.folder) is None
    assert install(request_of).state == "done"
    assert describe(request_of).state == "ok"
    old = environments(request_of)

    small_wheels.write_backend_wheel(request_of.wheel_folder, "0.2.0", manner="crashes")
    assert describe(request_of).state == "outdated"
    failed = install(request_of)
    assert failed.state == "failed"
    assert "the backend is broken" in str(failed.error)
    assert environments(request_of) == old
    assert environment_python(request_of.folder) is not None

    small_wheels.write_backend_wheel(request_of.wheel_folder, "0.2.0")
    assert install(request_of).state == "done"
    assert (describe(request_of).state, describe(request_of).version) == ("ok", "0.2.0")
    assert len(environments(request_of)) == 1
    assert environments(request_of) != old

    remove_environments(request_of.folder)
    assert describe(request_of).state == "missing"
    assert environments(request_of) == []


@pytest.mark.skipif(python_search.find_uv() is None, reason="uv was not found")
def test_uv_makes_it_where_it_is_found(request_of, monkeypatch):
    monkeypatch.setattr(environment_install, "find_uv", python_search.find_uv)
    installation = install(request_of)
    assert installation.state == "done", installation.poll()
    assert describe(request_of).torch == "1.0"


def test_a_package_that_is_missing_from_the_wheels_fails_with_pips_words_and_leaves_nothing(request_of):
    (request_of.offline_wheels / "needed_package-1.0-py3-none-any.whl").unlink()
    installation = install(request_of)
    assert installation.state == "failed"
    assert installation.error.code == "installation-failed"
    assert "needed_package" in str(installation.error).replace("-", "_")
    assert any("needed" in line for line in installation.poll())
    assert environments(request_of) == []


def test_cancelling_while_the_environment_is_made_leaves_nothing(request_of, wait_for):
    installation = Installation(request_of)
    installation.start()
    wait_for(lambda: installation.stage.startswith("Making"))
    installation.cancel()
    installation.wait(TIMEOUT_S)
    assert installation.state == "cancelled"
    assert environments(request_of) == []


def test_cancelling_during_the_handshake_kills_the_backend_and_leaves_nothing(request_of, wait_for):
    small_wheels.write_backend_wheel(request_of.wheel_folder, manner="hangs")
    installation = Installation(request_of)
    installation.start()
    wait_for(lambda: (request_of.folder / "hanging").exists() or installation.finished)
    installation.cancel()
    installation.wait(TIMEOUT_S)
    assert installation.state == "cancelled", installation.error
    assert environments(request_of) == []


def test_cancelling_before_the_start_makes_nothing(request_of):
    installation = Installation(request_of)
    installation.cancel()
    installation.start()
    installation.wait(TIMEOUT_S)
    assert installation.state == "cancelled"
    assert not request_of.folder.exists() or environments(request_of) == []


def test_without_network_and_without_wheels_the_text_says_what_to_do(request_of):
    installation = install(replace(request_of, offline_wheels=None, online=False))
    assert installation.error.code == "offline"
    assert "Allow online access" in installation.error.hint
    assert "folder of wheels" in installation.error.hint


def test_an_empty_wheel_folder_is_named(request_of, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    error = install(replace(request_of, offline_wheels=empty)).error
    assert error.code == "no-wheels"
    assert str(empty) in error.message


def test_too_little_disk_space_is_told_before_anything_is_made(request_of, monkeypatch):
    monkeypatch.setattr(environment_install, "NEEDED_BYTES", {"cpu": 10**18, "cuda": 10**18})
    error = install(request_of).error
    assert error.code == "disk-full"
    assert "GB" in error.message
    assert environments(request_of) == []


def test_a_folder_that_cannot_be_made_is_a_clear_error(request_of, tmp_path):
    (tmp_path / "file").touch()
    assert install(replace(request_of, folder=tmp_path / "file" / "x")).error.code == "disk"


def test_an_extension_without_its_wheel_is_a_clear_error(request_of, tmp_path):
    error = install(replace(request_of, wheel_folder=tmp_path / "nowhere")).error
    assert error.code == "incomplete-extension"


def test_a_python_that_does_not_fit_is_refused_by_name(request_of, tmp_path):
    error = install(replace(request_of, python=str(tmp_path / "no python"))).error
    assert error.code == "no-python"
    assert "no python" in error.message


def test_the_device_chooses_the_build_of_pytorch_and_a_mirror_wins(monkeypatch):
    monkeypatch.delenv(environment_install.TORCH_INDEX_VARIABLE, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    assert environment_install.torch_index("cpu").endswith("/cpu")
    assert "/cu" in environment_install.torch_index("cuda")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert environment_install.torch_index("cpu") is None
    monkeypatch.setenv(environment_install.TORCH_INDEX_VARIABLE, "https://mirror.example/simple")
    assert environment_install.torch_index("cuda") == "https://mirror.example/simple"


def test_leftovers_are_neither_taken_for_an_environment_nor_kept(request_of):
    for name in ("env-abc.tmp", "env-def"):
        (request_of.folder / name).mkdir(parents=True)
    (request_of.folder / "env-abc.tmp" / RECORD_NAME).write_text("{}")
    (request_of.folder / "other").mkdir()
    assert describe(request_of).state == "missing"
    remove_environments(request_of.folder)
    assert [path.name for path in request_of.folder.iterdir()] == ["other"]


@pytest.mark.parametrize("record", ["", "[]", "{}", "\x00", '{"python": "3"}'])
def test_a_damaged_record_is_described_as_broken(request_of, record):
    (request_of.folder / "env-abc").mkdir(parents=True)
    (request_of.folder / "env-abc" / RECORD_NAME).write_text(record)
    assert describe(request_of).state == "broken"


def test_a_removal_that_does_not_succeed_is_told(request_of, monkeypatch):
    (request_of.folder / "env-abc").mkdir(parents=True)
    monkeypatch.setattr("shutil.rmtree", lambda *arguments, **options: None)
    with pytest.raises(BackendError, match="Close other Blenders"):
        remove_environments(request_of.folder)
