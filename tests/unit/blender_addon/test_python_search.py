"""Only an interpreter that was run, fits, and is not Blender's own is taken."""

import json
import os
import sys

import pytest
from scene_codec_addon import python_search
from scene_codec_addon.backend_process import BackendError
from scene_codec_addon.python_search import FoundPython, find_python, is_blenders_own, probe_python

needs_scripts = pytest.mark.skipif(os.name == "nt", reason="needs POSIX to make executable scripts")

GOOD = {
    "executable": "/real/python",
    "version": [3, 11, 2],
    "base_prefix": "/usr",
    "bits": 64,
    "implementation": "cpython",
    "can_make_environments": True,
}


@pytest.fixture
def script(tmp_path):
    """Write an executable that prints something in place of an interpreter's answer."""

    def write(text, name="python3.11", folder="bin é"):
        (tmp_path / folder).mkdir(exist_ok=True)
        path = tmp_path / folder / name
        path.write_text(f"#!/bin/sh\ncat <<'EOF'\n{text}\nEOF\n")
        path.chmod(0o755)
        return str(path)

    return write


def test_the_running_interpreter_is_found_to_fit():
    found = probe_python(sys.executable)
    assert found.version == sys.version_info[:3]


@needs_scripts
@pytest.mark.parametrize(
    ("report", "words"),
    [
        (GOOD | {"version": [3, 10, 9]}, "3.10.9; 3.11 or newer"),
        (GOOD | {"bits": 32}, "64-bit"),
        (GOOD | {"implementation": "pypy"}, "64-bit CPython"),
        (GOOD | {"base_prefix": "/opt/blender-4.5/4.5/python"}, "belongs to Blender"),
        ({"version": [3, 11, 0]}, "does not answer like a Python"),
        ([], "does not answer like a Python"),
        ("a stub that tells you to visit a shop", "does not run as a Python"),
        ("", "does not run as a Python"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(script, report, words):
    text = report if isinstance(report, str) else json.dumps(report)
    with pytest.raises(BackendError, match=words) as caught:
        probe_python(script(text))
    assert caught.value.code == "no-python"
    assert "python.org" in caught.value.hint


@needs_scripts
def test_an_interpreter_that_hangs_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(python_search, "PROBE_TIMEOUT_S", 0.2)
    path = tmp_path / "python3.11"
    path.write_text("#!/bin/sh\nexec sleep 600\n")
    path.chmod(0o755)
    with pytest.raises(BackendError, match="does not run"):
        probe_python(str(path))


@needs_scripts
def test_the_first_that_can_make_environments_is_preferred_and_others_are_the_second_choice(
    script, monkeypatch
):
    bare = script(json.dumps(GOOD | {"can_make_environments": False}), "python3.11")
    monkeypatch.setattr(python_search, "candidate_paths", lambda: iter([bare]))
    assert find_python() == FoundPython("/real/python", (3, 11, 2), can_make_environments=False)
    full = script(json.dumps(GOOD | {"executable": "/real/full"}), "python3.12")
    broken = script("", "python3.13")
    monkeypatch.setattr(python_search, "candidate_paths", lambda: iter([broken, bare, full]))
    assert find_python().path == "/real/full"


def test_without_any_python_the_text_says_what_to_do(monkeypatch):
    monkeypatch.setattr(python_search, "candidate_paths", lambda: iter([]))
    with pytest.raises(BackendError, match=r"python\.org"):
        find_python()


@needs_scripts
def test_interpreters_on_path_are_candidates_once_each(script, monkeypatch):
    path = script(json.dumps(GOOD), "python3.12")
    monkeypatch.setenv("PATH", os.path.dirname(path))  # noqa: PTH120 - a string for PATH
    assert list(python_search.candidate_paths()).count(path) == 1


@pytest.mark.parametrize(
    ("prefix", "own"),
    [
        ("/opt/blender-4.5.1-linux-x64/4.5/python", True),
        (r"C:\Program Files\Blender Foundation\Blender 5.0\5.0\python", True),
        ("/Applications/Blender.app/Contents/Resources/4.2/python/", True),
        ("/usr", False),
        (r"C:\Users\Zoë\AppData\Local\Programs\Python\Python312", False),
        ("/Library/Frameworks/Python.framework/Versions/3.12", False),
        ("/home/x/.pyenv/versions/3.11.7", False),
    ],
)
def test_blenders_bundled_python_is_known_by_its_place(prefix, own):
    assert is_blenders_own(prefix) == own
