"""Encodes every mesh, curve, text and metaball of a `.blend` file into one `.nscene` file, without a window.

    python scripts/encode_blend.py scene.blend -o scene.nscene        (a Python that has the bpy wheel)
    blender --background --factory-startup --python scripts/encode_blend.py -- scene.blend -o scene.nscene

The add-on of this checkout is used, so an installed one must not be enabled (`--factory-startup`). The
backend runs in the Python named by the environment variable SCENE_CODEC_BACKEND_PYTHON, else in the
checkout's own `.venv`. Options are those of `blender --command scene_codec encode`; `--help` lists them.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
BACKEND_VARIABLE = "SCENE_CODEC_BACKEND_PYTHON"


def main() -> int:
    """Encode as the command line says and return the exit status."""
    arguments = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else sys.argv[1:]
    os.environ.setdefault(BACKEND_VARIABLE, str(_checkout_python()))
    sys.path.insert(0, str(CHECKOUT))
    addon = importlib.import_module("blender_addon")
    addon.register()
    try:
        return addon.commands.run(["encode", *arguments])
    finally:
        addon.unregister()


def _checkout_python() -> Path:
    folder = CHECKOUT / ".venv"
    return folder / "Scripts" / "python.exe" if os.name == "nt" else folder / "bin" / "python"


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # some Blender releases hang in their own clean-up
