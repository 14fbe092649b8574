"""One run of a set through the whole pipeline, and what is kept of it."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measurement.pipeline import RoundTrip, round_trip


@dataclass(frozen=True)
class SetRun:
    """Which meshes, and how they are encoded.

    settings : `key=value` each, named as in the codec's config; true and false for switches, commas for lists
    keep : folder for the .nscene file and the decoded meshes, a temporary one if None
    """

    files: tuple[Path, ...]
    preset: str | None = None
    settings: tuple[str, ...] = ()
    device: str = "auto"
    keep: Path | None = None


def run_set(run: SetRun) -> RoundTrip:
    """Encode, inspect, decode and evaluate, each in a fresh process. Raises `StepFailedError`."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = run.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        preset = ["--preset", run.preset] if run.preset else []
        flags = ["--codec", "mesh-necgs", *preset, *setting_flags(run.settings)]
        return round_trip(run.files, folder / "set.nscene", folder / "decoded", flags, device=run.device)


def setting_flags(settings: Sequence[str]) -> list[str]:
    """Return `key=value` settings as flags of `encode`."""
    flags: list[str] = []
    for setting in settings:
        key, _, value = setting.partition("=")
        name = key.replace("_", "-")
        if value.lower() in {"true", "false"}:
            flags.append(f"--{name}" if value.lower() == "true" else f"--no-{name}")
        else:
            flags += [f"--{name}", *value.split(",")]
    return flags


def describe(run: SetRun) -> str:
    """Return the preset and what was changed in it, for people."""
    return ", ".join([run.preset or "default preset", *(text.replace("=", " ") for text in run.settings)])


def set_details(trip: RoundTrip) -> dict[str, Any]:
    """Return what is kept beside the rows: every mesh, the file's parts, the times of the four processes."""
    return {
        "codec": trip.encode.report["codec"],
        "preset": trip.encode.report["preset"],
        "device": trip.encode.report["device"],
        "process_seconds": {
            "encode": trip.encode.seconds,
            "inspect": trip.inspect.seconds,
            "decode": trip.decode.seconds,
            "evaluate": trip.evaluate.seconds,
        },
        "file_bytes": trip.inspect.report["file_bytes"],
        "header_bytes": trip.inspect.report["header_bytes"],
        "shared": trip.inspect.report["shared"],
        "decoded_files": len(trip.decode.report["objects"]),
        "objects": trip.evaluate.report["objects"],
    }
