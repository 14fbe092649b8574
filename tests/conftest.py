"""What tests of several folders need: the add-on's modules without Blender, and a look at other processes."""

import os
import sys
import time
import types
from pathlib import Path

import hypothesis
import pytest

CHECKOUT = Path(__file__).resolve().parents[1]

# The add-on's own __init__ needs bpy; its modules without bpy are imported from a package that has none.
_addon = types.ModuleType("scene_codec_addon")
_addon.__path__ = [str(CHECKOUT / "blender_addon")]
sys.modules.setdefault("scene_codec_addon", _addon)


# The first draw of a text on a machine builds tables for seconds; no test is about the speed of drawing.
hypothesis.settings.register_profile(
    "patient", suppress_health_check=[hypothesis.HealthCheck.too_slow], deadline=None
)
hypothesis.settings.load_profile("patient")


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory):
    """Keep results and interrupted jobs of the tests away from the user's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SCENE_CODEC_CACHE", str(tmp_path_factory.mktemp("cache") / "results"))
        yield


@pytest.fixture
def wait_for():
    """Wait until a condition holds, and return its value; fail after a time that is far more than enough."""

    def wait(condition, timeout_s=300.0):
        deadline = time.monotonic() + timeout_s
        while not (value := condition()):
            assert time.monotonic() < deadline, "waited too long"
            time.sleep(0.01)
        return value

    return wait


@pytest.fixture
def process_runs():
    """Say whether a process runs; one that has ended but was not collected by its parent does not."""
    if os.name == "nt":
        pytest.skip("needs POSIX to see other processes")

    def runs(pid: int) -> bool:
        status = Path(f"/proc/{pid}/stat")
        try:
            if status.parent.parent.joinpath("self").exists():
                return status.read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
            os.kill(pid, 0)
        except (FileNotFoundError, ProcessLookupError):
            return False
        return True

    return runs
