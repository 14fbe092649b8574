"""Drives the `scene-codec` command as a user does: every step in a process of its own, its JSON read back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FINISHED = (0, 1)
"""Exit statuses of a command that did its work; 1 says that some inputs were left out and names them."""


class StepFailedError(Exception):
    """A command ended with an error; the message is what it printed."""


@dataclass(frozen=True)
class Answer:
    """What one command answered and how long its whole process took."""

    report: dict[str, Any]
    seconds: float


def run_command(*arguments: str | Path) -> Answer:
    """Run one `scene-codec` command that prints JSON. Its progress goes to this process's stderr.

    Raises `StepFailedError` when it ends with an error.
    """
    command = [sys.executable, "-m", "scene_codec", *map(str, arguments)]
    started = time.perf_counter()
    result = subprocess.run(
        command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONUTF8": "1"}, check=False
    )
    seconds = time.perf_counter() - started
    if result.returncode not in FINISHED:
        text = result.stdout.decode("utf-8", errors="replace").strip()
        raise StepFailedError(f"scene-codec {arguments[0]} ended with status {result.returncode}. {text}")
    return Answer(json.loads(result.stdout), seconds)


@dataclass(frozen=True)
class RoundTrip:
    """The answers of the four steps that a set goes through."""

    encode: Answer
    inspect: Answer
    decode: Answer
    evaluate: Answer


def round_trip(
    inputs: Sequence[Path], file: Path, decoded: Path, flags: Sequence[str], *, device: str = "auto"
) -> RoundTrip:
    """Encode `inputs` into `file`, inspect it, decode it into the folder `decoded`, and evaluate it.

    flags : further flags of `encode`, for example ("--preset", "paper")
    """
    encode = run_command("encode", *inputs, "-o", file, "--json", "--device", device, *flags)
    Path(f"{file}.encode.json").write_text(json.dumps(encode.report), encoding="utf-8")
    return measure(encode, inputs, file, decoded, device)


def reuse_encoding(inputs: Sequence[Path], file: Path, decoded: Path, *, device: str = "auto") -> RoundTrip:
    """Do what `round_trip` does with a `file` that it has written before."""
    report = json.loads(Path(f"{file}.encode.json").read_text(encoding="utf-8"))
    return measure(Answer(report, report["seconds"]), inputs, file, decoded, device)


def measure(encode: Answer, inputs: Sequence[Path], file: Path, decoded: Path, device: str) -> RoundTrip:
    """Inspect, decode and evaluate an encoded file."""
    inspect = run_command("inspect", file, "--json")
    decode = run_command("decode", file, "-o", decoded, "--overwrite", "--json", "--device", device)
    evaluate = run_command("evaluate", file, "--reference", *inputs, "--json", "-", "--device", device)
    return RoundTrip(encode, inspect, decode, evaluate)
