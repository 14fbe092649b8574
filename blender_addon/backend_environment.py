"""Where the backend's own Python environment lies, what state it is in, and how it is removed.

No bpy, standard library only. `environment_install.py` makes environments. In the folder for them lie

    env-<recipe>/        a complete environment; `environment.json` in it says what it is
    env-<recipe>.tmp/    one that is being made, or was being made when the machine went down
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .backend_process import BackendError

WHEEL_FOLDER = "backend_wheel"
"""Folder in the extension: `scene_codec-*.whl`, and `requirements.txt` with exact versions of the rest."""

RECORD_NAME = "environment.json"
TEMPORARY_SUFFIX = ".tmp"

State = Literal["missing", "ok", "outdated", "broken"]


@dataclass(frozen=True)
class EnvironmentDescription:
    """What the preferences show.

    state : "missing"; "ok"; "outdated" when the extension carries another backend than the one installed;
        "broken" when it cannot run, with the reason in `text`
    text : one sentence for the user
    size_bytes : on disk, as counted when it was made
    """

    state: State
    text: str
    folder: Path
    python: str = ""
    torch: str = ""
    version: str = ""
    device: str = ""
    size_bytes: int = 0


@dataclass(frozen=True)
class BackendPackage:
    """What the extension carries to install: the wheel and the pins."""

    wheel: Path
    requirements: Path

    def recipe(self, device: str) -> str:
        """Return the name of what would be installed: equal bytes and device, equal name."""
        digest = hashlib.blake2b(digest_size=6)
        for part in (self.wheel.read_bytes(), self.requirements.read_bytes(), device.encode()):
            digest.update(len(part).to_bytes(8, "little"))
            digest.update(part)
        return digest.hexdigest()


def find_package(wheel_folder: Path) -> BackendPackage:
    """Return what lies in the extension's `backend_wheel` folder. Raises `BackendError` if incomplete."""
    wheels = sorted(wheel_folder.glob("scene_codec-*.whl"))
    requirements = wheel_folder / "requirements.txt"
    if len(wheels) != 1 or not requirements.is_file():
        raise BackendError(
            "incomplete-extension",
            f"The extension does not hold the backend ({wheel_folder} has {len(wheels)} wheels).",
            "Install the extension again from its zip file.",
        )
    return BackendPackage(wheels[0], requirements)


def python_inside(environment: Path) -> Path:
    """Return where the interpreter of an environment is, on this operating system."""
    return environment / "Scripts" / "python.exe" if os.name == "nt" else environment / "bin" / "python"


def current_environment(folder: Path) -> Path | None:
    """Return the complete environment in `folder`, the newest if there are several, or None."""
    records = [path for path in folder.glob(f"env-*/{RECORD_NAME}") if path.parent.suffix != TEMPORARY_SUFFIX]
    newest = max(records, key=lambda path: path.stat().st_mtime_ns, default=None)
    return newest.parent if newest is not None else None


def environment_python(folder: Path) -> Path | None:
    """Return the interpreter that runs the backend, or None if no environment in `folder` could run."""
    environment = current_environment(folder)
    if environment is None or not python_inside(environment).exists():
        return None
    return python_inside(environment)


def describe_environment(folder: Path, wheel_folder: Path) -> EnvironmentDescription:
    """Return what is in `folder`, quickly enough for drawing a panel; nothing is run."""
    environment = current_environment(folder)
    if environment is None:
        return EnvironmentDescription("missing", "The backend is not installed.", folder)
    try:
        record = json.loads((environment / RECORD_NAME).read_text("utf-8"))
        known = {key: str(record[key]) for key in ("python", "torch", "version", "device")}
        size, recipe = int(record["size_bytes"]), str(record["recipe"])
    except (OSError, ValueError, KeyError, TypeError) as problem:
        text = f"The backend's environment is damaged ({problem!r}). Repair it."
        return EnvironmentDescription("broken", text, environment)
    if not python_inside(environment).exists():
        text = "The Python that the backend was made from is gone. Repair the backend."
        return EnvironmentDescription("broken", text, environment, **known, size_bytes=size)
    state: State = "ok"
    text = f"Backend {known['version']} is installed."
    try:
        if find_package(wheel_folder).recipe(known["device"]) != recipe:
            state, text = "outdated", f"Backend {known['version']} is not the one of this add-on. Repair it."
    except BackendError as problem:
        text = f"{text} {problem}"
    return EnvironmentDescription(state, text, environment, **known, size_bytes=size)


def remove_environments(folder: Path, keep: Path | None = None) -> None:
    """Remove every environment in `folder`, unfinished ones too, but `keep`; nothing else is touched.

    Raises `BackendError` if something could not be removed, which on Windows means that it is in use.
    """
    left = []
    for environment in sorted(folder.glob("env-*")):
        if environment != keep and environment.is_dir():
            # Without its record it is no longer taken for complete, whatever happens next.
            (environment / RECORD_NAME).unlink(missing_ok=True)
            shutil.rmtree(environment, ignore_errors=True)
            if environment.exists():
                left.append(str(environment))
    if left:
        text = f"Some files of the backend could not be removed: {', '.join(left)}."
        raise BackendError("in-use", text, "Close other Blenders and try again.")


def folder_size(folder: Path) -> int:
    """Return the bytes of all files in `folder`, links not followed."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            total += (Path(parent) / name).lstat().st_size
    return total
