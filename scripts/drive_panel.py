"""Drives the add-on's panel in a Blender with a window, by simulated clicks and keys, and takes pictures.

    python scripts/drive_panel.py --archive dist/scene_codec-0.1.0.zip --pictures docs/pictures

Starts a virtual screen (Xvfb), installs the extension into user resources of its own, and runs
`panel_session.py` inside Blender. Not part of the test command: it needs Linux, a Blender executable, Xvfb
and ImageMagick, and software OpenGL makes it slow. The exit status is 0 when every step did what it should.

The steps that cancel and kill use a stand-in backend that works until it is stopped; the others use the real
one when `--backend-python` names a Python that has scene_codec.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
SESSION = Path(__file__).with_name("panel_session.py")
FAKE_BACKEND = CHECKOUT / "tests" / "blender" / "fake_backend.py"
SCREEN = (1200, 760)
TIMEOUT_S = 3600  # training on a busy machine without a graphics card


def main() -> int:
    """Run the session and return the exit status."""
    options = _parser().parse_args()
    with tempfile.TemporaryDirectory(prefix="scene_codec gui ö ") as name, _screen() as display:
        folder = Path(name)
        environment = os.environ | {
            "DISPLAY": display,
            "LIBGL_ALWAYS_SOFTWARE": "1",
            "BLENDER_USER_RESOURCES": str(folder),
        }
        install = ["--command", "extension", "install-file", "-r", "user_default", "-e", str(options.archive)]
        subprocess.run([options.blender, *install], env=environment, check=True, timeout=TIMEOUT_S)
        plan = {
            "folder": str(folder),
            "pictures": str(options.pictures.resolve()) if options.pictures else None,
            "backends": {mode: _launcher(folder, mode) for mode in ("well", "slow")},
            "real_backend": str(options.backend_python) if options.backend_python else None,
            "settings": json.loads(options.settings),
            "result": str(folder / "result.json"),
        }
        geometry = ["-p", "0", "0", *map(str, SCREEN)]
        command = [options.blender, "--enable-event-simulate", *geometry, "--python", str(SESSION)]
        subprocess.run([*command, "--", json.dumps(plan)], env=environment, check=False, timeout=TIMEOUT_S)
        return _tell(Path(plan["result"]))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--blender", default="blender", metavar="FILE", help="Blender executable")
    parser.add_argument("--archive", type=Path, required=True, metavar="ZIP", help="the extension")
    parser.add_argument("--backend-python", type=Path, metavar="FILE", help="Python that has scene_codec")
    parser.add_argument(
        "--settings",
        default="{}",
        metavar="JSON",
        help="codec settings of the real backend, to train for less",
    )
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="where pictures go; default: none")
    return parser


@contextlib.contextmanager
def _screen() -> Iterator[str]:
    """Start a virtual screen on a free display and give its name."""
    size = "x".join(map(str, (*SCREEN, 24)))
    read_end, write_end = os.pipe()
    command = ["Xvfb", "-displayfd", str(write_end), "-screen", "0", size, "-nolisten", "tcp"]
    server = subprocess.Popen(command, pass_fds=[write_end], stderr=subprocess.DEVNULL)
    os.close(write_end)
    try:
        with os.fdopen(read_end) as answer:
            yield f":{answer.readline().strip()}"
    finally:
        server.terminate()
        server.wait()


def _launcher(folder: Path, mode: str) -> str:
    """Write an executable that stands for a Python whose backend behaves as `mode` says."""
    launcher = folder / f"backend-{mode}"
    words = shlex.join([sys.executable, str(FAKE_BACKEND), mode])
    launcher.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
    launcher.chmod(0o755)
    return str(launcher)


def _tell(result: Path) -> int:
    """Print what the session found and return the exit status."""
    if not result.is_file():
        print("Blender ended before the session did.", file=sys.stderr)
        return 1
    found = json.loads(result.read_text("utf-8"))
    for line in found["passed"]:
        print(f"passed  {line}")
    if found["error"]:
        print(f"FAILED  {found['error']}", file=sys.stderr)
    return 1 if found["error"] else 0


if __name__ == "__main__":
    sys.exit(main())
