"""Writes an executable that stands for the backend's Python and starts the stand-in backend instead."""

import os
import shlex
from pathlib import Path

FAKE_BACKEND = Path(__file__).with_name("fake_backend.py")


def write_launcher(folder: Path, mode: str, python: str) -> str:
    """Return the path of an executable in `folder` whose backend behaves as `mode` says."""
    if os.name == "nt":
        launcher = folder / f"backend-{mode}.cmd"
        launcher.write_text(f'@"{python}" "{FAKE_BACKEND}" {mode} %*\n')
    else:
        launcher = folder / f"backend-{mode}"
        words = shlex.join([python, str(FAKE_BACKEND), mode])
        launcher.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        launcher.chmod(0o755)
    return str(launcher)
