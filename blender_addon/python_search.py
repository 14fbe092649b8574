"""Finds a Python that the backend's environment can be made from. No bpy, standard library only.

Nothing is believed before it was run: `sys.executable` inside Blender may be Blender, its bundled Python, or
a shim that starts nothing; names on PATH may be stubs.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .backend_process import BackendError, clean_environment, hidden_window_options

MINIMUM_VERSION = (3, 11)
NAMES = ("python3.11", "python3.12", "python3.13", "python3.14", "python3", "python")
PROBE_TIMEOUT_S = 30.0

ADVICE = "Install Python 3.11 or newer from python.org, or choose a Python in the add-on's preferences."

_PROBE = """
import importlib.util, json, struct, sys
print(json.dumps({
    "executable": sys.executable, "version": list(sys.version_info[:3]), "base_prefix": sys.base_prefix,
    "bits": 8 * struct.calcsize("P"), "implementation": sys.implementation.name,
    "can_make_environments": all(map(importlib.util.find_spec, ("venv", "ensurepip"))),
}))
"""


@dataclass(frozen=True)
class FoundPython:
    """An interpreter that was run and fits.

    path : the interpreter itself, which a shim or a link that was asked has led to
    can_make_environments : whether it has `venv` and `ensurepip`; without them only uv can use it
    """

    path: str
    version: tuple[int, int, int]
    can_make_environments: bool


def find_python(chosen: str | None = None) -> FoundPython:
    """Return the interpreter the user chose, or else the first on this machine that fits.

    One that can make environments by itself is preferred. Raises `BackendError` "no-python" with the reason
    for the chosen one, or with what to do when none fits.
    """
    if chosen:
        return probe_python(chosen)
    second_best = None
    for path in candidate_paths():
        try:
            found = probe_python(path)
        except BackendError:
            continue
        if found.can_make_environments:
            return found
        second_best = second_best or found
    if second_best is not None:
        return second_best
    raise BackendError("no-python", "No suitable Python was found on this machine.", ADVICE)


def probe_python(path: str) -> FoundPython:
    """Run the interpreter at `path` and say whether the backend can live on it.

    Raises `BackendError` "no-python" if it does not run, is too old, not a 64-bit CPython, or Blender's own.
    """
    report = _run_probe(path)
    version = tuple(report["version"])
    words = ".".join(map(str, version))
    if version < MINIMUM_VERSION:
        raise BackendError("no-python", f"{path} is Python {words}; 3.11 or newer is needed.", ADVICE)
    if report["bits"] != 64 or report["implementation"] != "cpython":
        raise BackendError("no-python", f"{path} is not a 64-bit CPython.", ADVICE)
    if is_blenders_own(report["base_prefix"]):
        text = f"{path} belongs to Blender; it would be gone with the next update."
        raise BackendError("no-python", text, ADVICE)
    # Its own word for where it is: a shim on PATH may start another Python in another folder.
    return FoundPython(report["executable"], version, report["can_make_environments"])


def _run_probe(path: str) -> dict:
    try:
        done = subprocess.run(
            [path, "-I", "-c", _PROBE],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            env=clean_environment(),
            timeout=PROBE_TIMEOUT_S,
            check=False,
            **hidden_window_options(),
        )
        report = json.loads(done.stdout.decode("utf-8", "replace").strip().splitlines()[-1])
        complete = {
            "executable",
            "version",
            "base_prefix",
            "bits",
            "implementation",
            "can_make_environments",
        } <= set(report)
    except (OSError, ValueError, IndexError, subprocess.TimeoutExpired) as problem:
        raise BackendError("no-python", f"{path} does not run as a Python ({problem}).", ADVICE) from problem
    if not complete:
        raise BackendError("no-python", f"{path} does not answer like a Python.", ADVICE)
    return report


def is_blenders_own(base_prefix: str) -> bool:
    """Say whether an interpreter lives in a Blender: its folder is `<Blender>/<4.5>/python` everywhere."""
    return re.search(r"[/\\]\d+\.\d+[/\\]python[/\\]?$", base_prefix) is not None


def candidate_paths() -> Iterator[str]:
    """Yield interpreters worth asking, the most likely first, each once."""
    seen: set[str] = set()
    for path in _all_candidates():
        if path not in seen:
            seen.add(path)
            yield path


def _all_candidates() -> Iterator[str]:
    for name in NAMES:
        found = shutil.which(name, path=search_path())
        if found is not None:
            yield found
    if os.name == "nt":
        yield from _from_windows_launcher()
    for folder in sorted(_pyenv_versions()):
        yield str(folder / ("python.exe" if os.name == "nt" else "bin/python"))


def search_path() -> str:
    """Return PATH and the usual places that programs started from a desktop do not have on theirs."""
    folders = [os.environ.get("PATH", os.defpath), str(Path.home() / ".local" / "bin")]
    folders.append(str(Path.home() / ".cargo" / "bin"))
    if sys.platform == "darwin":
        folders += ["/opt/homebrew/bin", "/usr/local/bin"]
        frameworks = Path("/Library/Frameworks/Python.framework/Versions")
        folders += [str(folder) for folder in sorted(frameworks.glob("3.*/bin"))]
    return os.pathsep.join(folders)


def _from_windows_launcher() -> Iterator[str]:
    """Yield what the launcher `py` knows: lines that end in the path of a `python.exe`."""
    launcher = shutil.which("py")
    if launcher is None:
        return
    try:
        done = subprocess.run(
            [launcher, "-0p"],
            capture_output=True,
            timeout=PROBE_TIMEOUT_S,
            env=clean_environment(),
            check=False,
            **hidden_window_options(),
        )
    except (OSError, subprocess.TimeoutExpired):
        return
    for line in done.stdout.decode("utf-8", "replace").splitlines():
        match = re.search(r"([A-Za-z]:\\.*python\.exe)\s*$", line)
        if match:
            yield match[1]


def _pyenv_versions() -> list[Path]:
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    return list(root.glob("3.1[1-9]*"))


def find_uv() -> str | None:
    """Return the path of the installer uv, or None; it is several times quicker than pip."""
    return shutil.which("uv", path=search_path())
