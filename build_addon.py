"""Builds the Blender extension: `python build_addon.py`.

Writes `dist/scene_codec-<version>.zip` with the add-on, the wire protocol and, as data in `backend_wheel/`,
the backend's wheel with pinned requirements beside it. The same checkout gives the same bytes on every run.

Any Python 3.11 runs it; building the wheel needs `hatchling` in that Python, or a network for `pip`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent
ADDON = CHECKOUT / "blender_addon"
PROTOCOL = CHECKOUT / "backend" / "scene_codec" / "service" / "protocol.py"
REQUIREMENTS = CHECKOUT / "scripts" / "requirements.txt"
WHEEL_FOLDER = "backend_wheel"

ADDON_FILES = ("*.py", "*.toml")

ZIP_TIME = (1980, 1, 1, 0, 0, 0)
"""The earliest moment a zip can hold; real times would change the bytes on every build."""

SOURCE_DATE_EPOCH = "315532800"
"""The same moment, as wheel builders want it."""


class BuildError(Exception):
    """The extension cannot be built; the message says why and what to do."""


def main() -> int:
    """Build, validate when asked, and return the exit status."""
    options = _parser().parse_args()
    try:
        archive = build(options.output, options.wheel)
        print(f"{archive}  ({archive.stat().st_size / 1000:.0f} kB)")
        if options.validate_with is not None:
            print(validate(archive, options.validate_with))
    except BuildError as problem:
        print(f"Error: {problem}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--output", type=Path, default=CHECKOUT / "dist", metavar="FOLDER", help="default: dist/"
    )
    parser.add_argument("--wheel", type=Path, metavar="FILE", help="a backend wheel built before")
    parser.add_argument(
        "--validate-with",
        type=Path,
        metavar="PYTHON",
        help="Python that has the bpy wheel, or a Blender executable: validate with its extension tool",
    )
    return parser


def build(output: Path, wheel: Path | None = None) -> Path:
    """Build the extension into the folder `output` and return the zip's path. Raises `BuildError`."""
    version = checked_version()
    output.mkdir(parents=True, exist_ok=True)
    target = output / f"scene_codec-{version}.zip"
    with tempfile.TemporaryDirectory(prefix="scene_codec-build-") as folder:
        members = addon_members()
        wheel = wheel or build_wheel(Path(folder))
        members[f"{WHEEL_FOLDER}/{wheel.name}"] = wheel.read_bytes()
        members[f"{WHEEL_FOLDER}/requirements.txt"] = REQUIREMENTS.read_bytes()
        write_zip(target, members)
    return target


def checked_version() -> str:
    """Return the one version of the project. Raises `BuildError` when add-on and backend disagree."""
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    manifest = tomllib.loads((ADDON / "blender_manifest.toml").read_text("utf-8"))["version"]
    if project != manifest:
        raise BuildError(f"pyproject.toml has version {project}, blender_manifest.toml has {manifest}.")
    return str(project)


def addon_members() -> dict[str, bytes]:
    """Return the add-on's files by their names in the zip, the real protocol in place of its stand-in."""
    paths = [path for pattern in ADDON_FILES for path in ADDON.rglob(pattern)]
    members = {path.relative_to(ADDON).as_posix(): path.read_bytes() for path in paths}
    members["protocol.py"] = PROTOCOL.read_bytes()
    members["LICENSE"] = (CHECKOUT / "LICENSE").read_bytes()
    return members


def build_wheel(folder: Path) -> Path:
    """Build the backend's wheel in `folder`. Raises `BuildError`."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder)]
    if _has_hatchling():
        command.append("--no-build-isolation")  # needs no network then
    environment = os.environ | {"SOURCE_DATE_EPOCH": SOURCE_DATE_EPOCH}
    done = subprocess.run(
        [*command, str(CHECKOUT)], env=environment, capture_output=True, text=True, check=False
    )
    wheels = sorted(folder.glob("scene_codec-*.whl"))
    if done.returncode != 0 or not wheels:
        raise BuildError(
            f"The backend's wheel could not be built with {sys.executable}. Install hatchling there "
            f"(pip install hatchling).\n{done.stderr.strip()}"
        )
    return wheels[0]


def _has_hatchling() -> bool:
    probe = subprocess.run([sys.executable, "-c", "import hatchling"], capture_output=True, check=False)
    return probe.returncode == 0


def write_zip(target: Path, members: dict[str, bytes]) -> None:
    """Write a zip whose bytes depend on names and contents only; it appears whole or not at all."""
    temporary = target.with_suffix(".tmp")
    with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in sorted(members):
            entry = zipfile.ZipInfo(name, ZIP_TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # Unix, also when built on Windows
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, members[name])
    temporary.replace(target)


def validate(archive: Path, blender: Path) -> str:
    """Return what Blender's own extension tool says of the zip. Raises `BuildError` when it refuses it."""
    done = subprocess.run(
        [*_extension_tool(blender), "validate", str(archive)],
        capture_output=True,
        text=True,
        check=False,
    )
    words = (done.stdout + done.stderr).strip()
    if done.returncode != 0:
        raise BuildError(f"Blender's extension tool refuses {archive}:\n{words}")
    return words


def _extension_tool(blender: Path) -> list[str]:
    """Return the command of the extension tool: of a Blender executable, or from a Python's bpy wheel."""
    if not blender.name.lower().startswith("python"):
        return [str(blender), "--command", "extension"]
    code = "import importlib.util as u; print(u.find_spec('bpy').submodule_search_locations[0])"
    done = subprocess.run([str(blender), "-c", code], capture_output=True, text=True, check=False)
    tools = sorted(
        Path(done.stdout.strip()).glob("*/scripts/addons_core/bl_pkg/cli/blender_ext.py")
        if done.returncode == 0
        else []
    )
    if not tools:
        raise BuildError(
            f"{blender} has no bpy wheel (pip install bpy), so nothing can be validated with it."
        )
    return [str(blender), str(tools[0])]


if __name__ == "__main__":
    sys.exit(main())
