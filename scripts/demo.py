"""Shows what the codec does: `python3 scripts/demo.py`, from nothing but Python 3.11 and git.

Makes or reuses `.venv`, makes a varied set of meshes, encodes them into one file, decodes it in a fresh
process, measures the result, and leaves everything in output/demo/: the .nscene file, the meshes before and
after, a table of sizes and errors, and a picture.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from environments import blender
from environments.virtual_environment import (
    CHECKOUT,
    SCRIPTS,
    SetupError,
    check_this_python,
    clean_variables,
    ensure_environment,
    project_recipe,
)

MONKEY_SECONDS = 300


def main() -> int:
    """Prepare the environment, then run the demonstration in it; returns its exit status."""
    options = _parse()
    try:
        check_this_python()
        python = ensure_environment(project_recipe(options.torch_index))
    except SetupError as problem:
        print(f"Set-up failed: {problem}", file=sys.stderr)
        return 2
    output = options.output.resolve()
    _make_monkey(output / "monkey.ply")
    command = [str(python), "-m", "demonstration.run", str(output), *(["--fresh"] if options.fresh else [])]
    return subprocess.run(command, cwd=SCRIPTS, env=clean_variables(), check=False).returncode


def _parse() -> argparse.Namespace:
    """Return the command's options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=CHECKOUT / "output" / "demo", metavar="FOLDER")
    parser.add_argument("--fresh", action="store_true", help="encode again even when nothing has changed")
    parser.add_argument(
        "--torch-index", metavar="URL", help="take torch from this package index, for a certain build"
    )
    return parser.parse_args()


def _make_monkey(file: Path) -> None:
    """Let Blender write its own monkey, where the tests or the user have made a Blender environment."""
    python = blender.ready_blender_python()
    if file.exists():
        return
    if python is None:
        print("Without Blender's monkey: no environment with bpy is there (scripts/test.py makes one).")
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    command = [str(python), str(SCRIPTS / "demonstration" / "blender_monkey.py"), str(file)]
    try:
        status = subprocess.run(
            command, stdout=subprocess.DEVNULL, env=clean_variables(), timeout=MONKEY_SECONDS, check=False
        ).returncode
    except subprocess.TimeoutExpired:
        status = -1
    if status != 0:
        print(f"Without Blender's monkey: {python} ended with status {status}.")


if __name__ == "__main__":
    sys.exit(main())
