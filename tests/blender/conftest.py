"""Runs scenarios inside real Blenders, one process each: Blender starts only once in a process."""

import importlib.util
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
RUNNER = Path(__file__).with_name("run_scenario.py")
VARIABLE = "SCENE_CODEC_BPY_PYTHONS"
TIMEOUT_S = 540  # a scenario takes seconds; this only ends what hangs


def blender_pythons() -> dict[str, str]:
    """Return the interpreters that have a bpy wheel, by Blender version."""
    pairs = (item.partition("=") for item in os.environ.get(VARIABLE, "").split(",") if item)
    return {version: python for version, _, python in pairs}


def pytest_generate_tests(metafunc):
    """Run each test that asks for a `blender` in every version that was named; skip it when none was."""
    if "blender" in metafunc.fixturenames:
        reason = f"no Blender: {VARIABLE} is not set (for example 4.5=/path/to/python/with/bpy)"
        skipped = pytest.param("none", marks=pytest.mark.skip(reason=reason))
        metafunc.parametrize("blender", list(blender_pythons()) or [skipped], indirect=True)


@dataclass(frozen=True)
class Blender:
    """One Blender version with the extension installed in user resources of its own."""

    version: str
    python: str
    resources: Path
    archive: Path

    def environment(self, **variables: str) -> dict[str, str]:
        """Return the variables of a process of this Blender."""
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "DISPLAY"))
        }
        return kept | {
            "BLENDER_USER_RESOURCES": str(self.resources),
            "SCENE_CODEC_TEST_ARCHIVE": str(self.archive),
            "SCENE_CODEC_TEST_PYTHON": sys.executable,
            "SCENE_CODEC_TEST_CHECKOUT": str(CHECKOUT),
            "OMP_NUM_THREADS": "1",
            **variables,
        }

    def run_scenario(self, module: str, scenario: str, folder: Path) -> None:
        """Run one function of `scenarios/` in a process and pass on how it failed."""
        command = [self.python, str(RUNNER), module, scenario, str(folder)]
        done = subprocess.run(
            command,
            env=self.environment(),
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=TIMEOUT_S,
            check=False,
        )
        words = f"{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        assert "SCENARIO PASSED" in done.stdout, f"exit code {done.returncode}\n{words}"
        assert done.returncode == 0, words


@pytest.fixture(scope="session")
def archive(tmp_path_factory) -> Path:
    """The extension zip, built once."""
    return load(CHECKOUT / "build_addon.py").build(tmp_path_factory.mktemp("dist"))


@pytest.fixture
def validate():
    """The function that asks Blender's own extension tool about a zip."""
    return load(CHECKOUT / "build_addon.py").validate


@pytest.fixture
def fake_backend(tmp_path) -> str:
    """An executable that stands for a Python with a backend that does everything right."""
    launcher = load(Path(__file__).with_name("fake_launcher.py"))
    return launcher.write_launcher(tmp_path, "well", sys.executable)


@pytest.fixture(scope="session")
def _blenders() -> dict[str, Blender]:
    return {}


@pytest.fixture
def blender(request, archive, _blenders, tmp_path_factory, tmp_path) -> Blender:
    """A Blender of the version asked for, the extension installed in it once a session."""
    version = request.param
    if version not in _blenders:
        # Blender users have such names, and such paths have broken many an add-on.
        resources = tmp_path_factory.mktemp("blender") / f"Zoë's größe 文 {version}"
        resources.mkdir()
        fresh = Blender(version, blender_pythons()[version], resources, archive)
        fresh.run_scenario("installation", "the_zip_installs_and_is_enabled", tmp_path)
        _blenders[version] = fresh
    return _blenders[version]


def load(path: Path):
    """Import a Python file that belongs to no package."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
