"""Makes or reuses a virtual environment with pinned packages; standard library only, since it runs first.

A stamp inside the environment remembers what was installed (the pins, the Python, the place of the checkout),
so that a second run costs one file read instead of a minute of pip.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
SCRIPTS = CHECKOUT / "scripts"
MINIMUM_PYTHON = (3, 11)
STAMP_NAME = "scene-codec-stamp.json"
TORCH_INDEX_VARIABLE = "SCENE_CODEC_TORCH_INDEX"
OFFLINE_HINT = (
    "If this machine has no network, put the wheels into a folder and set PIP_NO_INDEX=1 and "
    "PIP_FIND_LINKS=FOLDER before you run the command again; pip reads both."
)


class SetupError(Exception):
    """The environment could not be made; the message says what to do."""


@dataclass(frozen=True)
class Recipe:
    """What an environment holds.

    folder : where it lies
    python : the interpreter that makes it
    requirements : pinned requirement files, installed in this order
    torch_index : package index for torch alone, None for pip's usual one
    install_project : whether the checkout itself is installed, editable
    """

    folder: Path
    python: Path
    requirements: tuple[Path, ...]
    torch_index: str | None = None
    install_project: bool = True


def project_recipe(torch_index: str | None = None) -> Recipe:
    """Return the recipe of the checkout's `.venv`: the package, what it needs, the tools of the tests."""
    return Recipe(
        folder=CHECKOUT / ".venv",
        python=Path(sys.executable),
        requirements=(SCRIPTS / "requirements.txt", SCRIPTS / "requirements-dev.txt"),
        torch_index=torch_index or os.environ.get(TORCH_INDEX_VARIABLE) or None,
    )


def environment_python(folder: Path) -> Path:
    """Return where the interpreter of the environment in `folder` is, on this operating system."""
    return folder / "Scripts" / "python.exe" if os.name == "nt" else folder / "bin" / "python"


def check_this_python() -> None:
    """Raise `SetupError` when the running Python is too old or cannot make virtual environments."""
    if sys.version_info < MINIMUM_PYTHON:
        raise SetupError(
            f"Python {MINIMUM_PYTHON[0]}.{MINIMUM_PYTHON[1]} or newer is needed; this is "
            f"{platform.python_version()} ({sys.executable}). Run the command with a newer one, for example: "
            f"python3.11 {sys.argv[0]}"
        )
    missing = [name for name in ("venv", "ensurepip") if importlib.util.find_spec(name) is None]
    if missing:
        raise SetupError(
            f"This Python ({sys.executable}) lacks the module {' and '.join(missing)}, so it cannot make a "
            "virtual environment. On Debian and Ubuntu: sudo apt-get install python3-venv. Elsewhere install "
            "Python from its own installer or your package manager."
        )


def ensure_environment(recipe: Recipe) -> Path:
    """Make the environment, or reuse it when its stamp still fits, and return its interpreter.

    Raises `SetupError` when Python is too old, when `venv` is missing, or when pip fails.
    """
    python = environment_python(recipe.folder)
    stamp_file = recipe.folder / STAMP_NAME
    wanted = _stamp(recipe)
    if _read_stamp(stamp_file) == wanted and _answers(python):
        return python
    _say(f"Preparing the Python environment in {recipe.folder} (once; later runs reuse it)")
    stamp_file.unlink(missing_ok=True)
    _make_environment(recipe, python)
    _install(recipe, python)
    _write_stamp(stamp_file, wanted)
    return python


def clean_variables() -> dict[str, str]:
    """Return this process's environment variables without those that would leak another Python's packages."""
    unwanted = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__"}
    variables = {name: value for name, value in os.environ.items() if name not in unwanted}
    variables["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    variables["PYTHONUTF8"] = "1"
    return variables


def pinned_requirement(name: str, requirements: tuple[Path, ...]) -> str | None:
    """Return the line that pins package `name`, or None when no file does."""
    for file in requirements:
        for line in file.read_text(encoding="utf-8").splitlines():
            if line.partition("==")[0].strip().lower() == name:
                return line.partition("#")[0].strip()
    return None


def _make_environment(recipe: Recipe, python: Path) -> None:
    """Create the environment, or repair one that is there without a working pip."""
    if _answers(python, "import pip"):
        return
    # venv on an existing folder puts back what is missing and leaves the rest alone.
    result = _run([str(recipe.python), "-m", "venv", str(recipe.folder)])
    if result.returncode != 0 or not _answers(python, "import pip"):
        raise SetupError(
            f"The virtual environment in {recipe.folder} could not be made.\n{_tail(result)}\n"
            "Delete that folder and run the command again; on Debian and Ubuntu also check that python3-venv "
            "is installed."
        )


def _install(recipe: Recipe, python: Path) -> None:
    """Install torch first and alone, then the other pins, then the checkout."""
    torch = pinned_requirement("torch", recipe.requirements)
    if torch is not None:
        # Alone, since a resolver that sees ranges too may take a newer build of several gigabytes.
        index = ["--index-url", recipe.torch_index] if recipe.torch_index else []
        _pip(python, [torch, *index])
    for file in recipe.requirements:
        _pip(python, ["-r", str(file)])
    if recipe.install_project:
        # The build backend is among the pins: no second, unpinned download for an isolated build.
        _pip(python, ["--no-deps", "--no-build-isolation", "--editable", str(CHECKOUT)])


def _pip(python: Path, arguments: list[str]) -> None:
    """Run one `pip install` and turn its failure into a `SetupError` with the last lines of its output."""
    _say(f"  pip install {' '.join(arguments)}")
    # With somebody watching, pip shows how far its downloads are; a log gets one line per step.
    watched = sys.stdout.isatty()
    quiet = [] if watched else ["--quiet"]
    result = _run([str(python), "-m", "pip", "install", *quiet, *arguments], show_output=watched)
    if result.returncode != 0:
        raise SetupError(f"pip install {' '.join(arguments)} failed:\n{_tail(result)}\n{OFFLINE_HINT}")


def _stamp(recipe: Recipe) -> dict[str, str]:
    """Return what has to stay the same for the environment to be reused."""
    pins = hashlib.sha256()
    for file in recipe.requirements:
        pins.update(file.read_bytes())
    if recipe.install_project:
        pins.update((CHECKOUT / "pyproject.toml").read_bytes())
    version = _run([str(recipe.python), "-c", "import platform; print(platform.python_version())"])
    return {
        "pins": pins.hexdigest(),
        "python": version.stdout.strip(),
        "folder": str(recipe.folder),
        "torch_index": recipe.torch_index or "",
    }


def _read_stamp(file: Path) -> dict[str, str] | None:
    """Return the stamp, or None when there is none or it cannot be read."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _write_stamp(file: Path, stamp: dict[str, str]) -> None:
    """Write the stamp in one step, so that an interrupted set-up never looks finished."""
    temporary = file.with_suffix(".new")
    temporary.write_text(json.dumps(stamp, indent=1), encoding="utf-8")
    temporary.replace(file)


def _answers(python: Path, statement: str = "pass") -> bool:
    """Whether the interpreter starts and runs `statement`."""
    if shutil.which(str(python)) is None:
        return False
    return _run([str(python), "-c", statement]).returncode == 0


def _run(command: list[str], *, show_output: bool = False) -> subprocess.CompletedProcess[str]:
    """Run a command and return its outcome with stderr, and stdout unless it is shown, as text."""
    try:
        return subprocess.run(
            command,
            stdout=None if show_output else subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=clean_variables(),
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except OSError as problem:
        return subprocess.CompletedProcess(command, 127, "", str(problem))


def _tail(result: subprocess.CompletedProcess[str], lines: int = 12) -> str:
    """Return the end of a command's output, indented."""
    text = (result.stderr.strip() or (result.stdout or "").strip()).splitlines()[-lines:]
    return "\n".join(f"    {line}" for line in text)


def _say(text: str) -> None:
    """Tell the user what takes time, at once even when the output is a file."""
    print(text, file=sys.stderr, flush=True)
