"""Where a measurement comes from: commit, command, machine, versions."""

from __future__ import annotations

import datetime
import os
import platform
import shlex
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]


def provenance(private_paths: tuple[Path, ...] = ()) -> dict[str, object]:
    """Return what a reader needs to repeat a measurement.

    private_paths : folders of this machine; the command shows only their names, in capitals
    """
    return {
        "commit": _git("rev-parse", "--short=12", "HEAD") or "unknown",
        "uncommitted_changes": bool(_git("status", "--porcelain", "--untracked-files=no", "--", "backend")),
        "command": _command(private_paths),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "gpu": _gpu(),
            "system": f"{platform.system()} {platform.machine()}",
        },
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in ("torch", "numpy", "libigl", "constriction")},
    }


def _command(private_paths: tuple[Path, ...]) -> str:
    """Return the command line of this process, with folders of this machine replaced."""
    script = Path(sys.argv[0]).resolve()
    scripts = CHECKOUT / "scripts"
    if script.is_relative_to(scripts) and script.parent != scripts:
        # A module of a folder of scripts is run with -m, in the folder scripts.
        start = ["python", "-m", ".".join(script.relative_to(scripts).with_suffix("").parts)]
    else:
        start = ["python", f"scripts/{script.name}"]
    words = sys.argv[1:]
    for path in private_paths:
        words = [word.replace(str(path), path.name.upper()) for word in words]
    # Programs and other paths of this machine, which no reader has where they are here.
    words = [Path(word).name.upper() if Path(word).is_absolute() else word for word in words]
    return shlex.join([*start, *words])


def _git(*arguments: str) -> str:
    """Return the output of a git command in the checkout, empty when it fails."""
    try:
        result = subprocess.run(
            ["git", *arguments], cwd=CHECKOUT, capture_output=True, text=True, check=False
        )
    except OSError:
        return ""
    return result.stdout.strip() if result.returncode == 0 else ""


def _processor() -> str:
    """Return the processor's name."""
    table = Path("/proc/cpuinfo")
    if table.exists():
        for line in table.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _gpu() -> str | None:
    """Return the name of the CUDA device that torch sees, or None."""
    import torch

    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else None


def _version(name: str) -> str:
    """Return the installed version of a package."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
