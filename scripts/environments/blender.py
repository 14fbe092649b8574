"""Environments with Blender as a Python module (`bpy`), one for each Blender version that the tests drive.

The wheels are 350-400 MB each, so an environment is made once, in `build/blender/`, and reused.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from environments.virtual_environment import (
    CHECKOUT,
    Recipe,
    SetupError,
    clean_variables,
    ensure_environment,
    environment_python,
)

VARIABLE = "SCENE_CODEC_BPY_PYTHONS"
"""The tests in Blender read it: `4.5=/path/to/python,4.2=/path/to/python`."""

SYSTEM_LIBRARIES = (
    "libx11-6", "libxrender1", "libxfixes3", "libxi6", "libxkbcommon0", "libsm6", "libgl1", "libegl1",
)  # fmt: skip
"""Debian packages without which `bpy` does not import, or aborts when it draws (the last one)."""


@dataclass(frozen=True)
class BlenderWheel:
    """A Blender version as the package index has it: `bpy` release and the one Python it was built for."""

    release: str
    python: tuple[int, int]


WHEELS = {
    "4.2": BlenderWheel("4.2.23", (3, 11)),
    "4.5": BlenderWheel("4.5.15", (3, 11)),
    "5.0": BlenderWheel("5.0.1", (3, 11)),
    "5.2": BlenderWheel("5.2.3", (3, 13)),
}


def blender_folder(version: str) -> Path:
    """Return where the environment of a Blender version lies."""
    return CHECKOUT / "build" / "blender" / WHEELS[version].release


def ready_blender_python() -> Path | None:
    """Return the interpreter of any Blender environment made earlier, or None."""
    for version in WHEELS:
        python = environment_python(blender_folder(version))
        if python.exists():
            return python
    return None


def ensure_blender(version: str) -> Path:
    """Make or reuse the environment of Blender `version` and check that `import bpy` works there.

    Raises `SetupError` for an unknown version, without a fitting Python, or without its system libraries.
    """
    if version not in WHEELS:
        raise SetupError(f"Blender {version} is not among the versions tested: {', '.join(WHEELS)}")
    wheel = WHEELS[version]
    folder = blender_folder(version)
    folder.parent.mkdir(parents=True, exist_ok=True)
    requirements = folder.parent / f"requirements-{wheel.release}.txt"
    line = f"bpy=={wheel.release}\n"
    if not requirements.exists() or requirements.read_text(encoding="utf-8") != line:
        requirements.write_text(line, encoding="utf-8")
    recipe = Recipe(folder, find_python(wheel.python), (requirements,), install_project=False)
    python = ensure_environment(recipe)
    _check_import(python, version)
    return python


def find_python(wanted: tuple[int, int]) -> Path:
    """Return an interpreter of exactly the `wanted` version. Raises `SetupError` when there is none."""
    for candidate in _candidates(wanted):
        if _version(candidate) == wanted:
            return Path(candidate)
    name = f"{wanted[0]}.{wanted[1]}"
    raise SetupError(
        f"Python {name} was not found on PATH or in pyenv; install it (for example: pyenv install {name})"
    )


def _candidates(wanted: tuple[int, int]) -> Iterator[str]:
    """Yield interpreters worth asking for their version, the most likely first."""
    name = f"{wanted[0]}.{wanted[1]}"
    yield sys.executable
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    if pyenv.is_dir():
        for folder in sorted(pyenv.glob(f"{name}*"), reverse=True):
            yield str(folder / ("python.exe" if os.name == "nt" else "bin/python"))
    for command in (f"python{name}", "python3", "python"):
        found = shutil.which(command)
        if found is not None:
            yield found
    launcher = shutil.which("py")
    if launcher is not None:
        answer = _ask([launcher, f"-{name}", "-c", "import sys; print(sys.executable)"])
        if answer:
            yield answer


def _version(python: str) -> tuple[int, int] | None:
    """Return the version an interpreter reports, or None when it does not start."""
    answer = _ask([python, "-c", "import sys; print(*sys.version_info[:2])"])
    major, _, minor = answer.partition(" ")
    return (int(major), int(minor)) if major.isdigit() and minor.isdigit() else None


def _ask(command: list[str]) -> str:
    """Run a short command and return what it prints, empty when it fails."""
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, env=clean_variables(), timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return result.stdout.strip() if result.returncode == 0 else ""


def _check_import(python: Path, version: str) -> None:
    """Import bpy in a process of its own. Raises `SetupError` with the reason and what to install."""
    # os._exit: some releases hang or crash while their static objects are destroyed.
    statement = (
        "import bpy, os, sys; sys.stdout.write(bpy.app.version_string); sys.stdout.flush(); os._exit(0)"
    )
    result = subprocess.run(
        [str(python), "-c", statement],
        capture_output=True, text=True, env=clean_variables(), timeout=300, check=False,
    )  # fmt: skip
    if result.returncode == 0 and result.stdout.startswith(version):
        return
    reason = (
        result.stderr.strip() or result.stdout.strip() or f"exit status {result.returncode}"
    ).splitlines()[-1]
    advice = ""
    if sys.platform == "linux":
        advice = f"\nOn Debian and Ubuntu: sudo apt-get install {' '.join(SYSTEM_LIBRARIES)}"
    raise SetupError(f"Blender {version} does not import in {python}: {reason}{advice}")
