import json
import sys
from pathlib import Path

import pytest

from environments import blender, virtual_environment
from environments.virtual_environment import Recipe, SetupError, ensure_environment, environment_python


@pytest.fixture
def recipe(tmp_path):
    """A recipe without packages: the environment is real, pip has nothing to do."""
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("# nothing\n", encoding="utf-8")
    return Recipe(tmp_path / "an environment", Path(sys.executable), (requirements,), install_project=False)


def test_an_environment_is_made_once_and_remade_when_the_pins_change(recipe, monkeypatch):
    installs = []
    monkeypatch.setattr(virtual_environment, "_pip", lambda _python, arguments: installs.append(arguments))
    python = ensure_environment(recipe)
    assert python.exists()
    assert len(installs) == 1
    assert ensure_environment(recipe) == python
    assert len(installs) == 1
    recipe.requirements[0].write_text("# other\n", encoding="utf-8")
    ensure_environment(recipe)
    assert len(installs) == 2


def test_an_interrupted_installation_does_not_look_finished(recipe, monkeypatch):
    def fail(_python, _arguments):
        raise SetupError("no network")

    monkeypatch.setattr(virtual_environment, "_pip", fail)
    with pytest.raises(SetupError):
        ensure_environment(recipe)
    assert not (recipe.folder / virtual_environment.STAMP_NAME).exists()


def test_a_damaged_stamp_counts_as_none(recipe, monkeypatch):
    installs = []
    monkeypatch.setattr(virtual_environment, "_pip", lambda _python, arguments: installs.append(arguments))
    ensure_environment(recipe)
    for damage in ("", "[1]", json.dumps({"pins": "other"})):
        (recipe.folder / virtual_environment.STAMP_NAME).write_text(damage, encoding="utf-8")
        ensure_environment(recipe)
    assert len(installs) == 4


def test_a_failing_pip_is_reported_with_its_words_and_what_to_do(recipe):
    recipe.requirements[0].write_text("no-such-package-anywhere @ file:///nowhere\n", encoding="utf-8")
    with pytest.raises(SetupError, match="PIP_FIND_LINKS") as problem:
        ensure_environment(recipe)
    assert "nowhere" in str(problem.value)


def test_torch_is_installed_first_and_alone(recipe, monkeypatch):
    installs = []
    monkeypatch.setattr(virtual_environment, "_pip", lambda _python, arguments: installs.append(arguments))
    recipe.requirements[0].write_text("numpy==2\ntorch==9.9.9  # why\n", encoding="utf-8")
    index = Recipe(recipe.folder, recipe.python, recipe.requirements, "some-index", install_project=False)
    ensure_environment(index)
    assert installs[0] == ["torch==9.9.9", "--index-url", "some-index"]
    assert installs[1] == ["-r", str(recipe.requirements[0])]


def test_an_old_python_is_told_what_to_run(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 10, 1))
    with pytest.raises(SetupError, match=r"3\.11 or newer"):
        virtual_environment.check_this_python()


def test_a_python_without_venv_is_told_what_to_install(monkeypatch):
    monkeypatch.setattr(virtual_environment.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(SetupError, match="python3-venv"):
        virtual_environment.check_this_python()


def test_an_unknown_blender_is_refused_with_the_known_ones():
    with pytest.raises(SetupError, match=r"4\.5"):
        blender.ensure_blender("1.0")


def test_a_missing_python_is_named():
    with pytest.raises(SetupError, match=r"Python 2\.1"):
        blender.find_python((2, 1))


def test_the_running_python_is_found_for_its_own_version():
    found = blender.find_python(sys.version_info[:2])
    assert environment_python(Path("x")).name.startswith("python")
    assert found.exists()


def test_a_blender_that_does_not_import_is_explained(tmp_path, monkeypatch):
    with pytest.raises(SetupError, match="bpy"):
        blender._check_import(Path(sys.executable), "4.5")
