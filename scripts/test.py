"""Runs every check and test: `python3 scripts/test.py`, from nothing but Python 3.11 and git.

Makes or reuses `.venv`, then checks formatting, lint, types, layers and declared dependencies, runs the
tests, and drives the add-on inside real Blenders. All steps run even when one fails; the exit status says
whether all passed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from environments import blender
from environments.virtual_environment import (
    CHECKOUT,
    SetupError,
    check_this_python,
    clean_variables,
    ensure_environment,
    project_recipe,
)

DEFAULT_BLENDER = "4.5"


@dataclass(frozen=True)
class Outcome:
    """How one step ended."""

    name: str
    passed: bool
    seconds: float
    note: str = ""


def main() -> int:
    """Run the steps and return the exit status: 0 all passed, 1 a step failed, 2 the set-up failed."""
    options = _parse()
    try:
        check_this_python()
        python = ensure_environment(project_recipe(options.torch_index))
    except SetupError as problem:
        print(f"Set-up failed: {problem}", file=sys.stderr)
        return 2
    outcomes = [_run_step(name, command, {}) for name, command in _static_steps(python)]
    outcomes.append(_run_step("tests", _pytest(python, options.quick), {}))
    if not options.quick:
        outcomes.extend(_blender_steps(python, options.blender.split(",")))
    return _summary(outcomes)


def _parse() -> argparse.Namespace:
    """Return the command's options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--blender",
        default=DEFAULT_BLENDER,
        metavar="VERSIONS",
        help=f"Blender versions to test in, separated by commas, of {', '.join(blender.WHEELS)} "
        f"(default {DEFAULT_BLENDER}; each is a download of about 400 MB, once)",
    )
    parser.add_argument(
        "--quick", action="store_true", help="leave out Blender, the paper tests and the slow journeys"
    )
    parser.add_argument(
        "--torch-index", metavar="URL", help="take torch from this package index, for a certain build"
    )
    return parser.parse_args()


def _static_steps(python: Path) -> list[tuple[str, list[str]]]:
    """Return the checks that run no product code."""
    tool = [str(python), "-m"]
    tools = python.parent
    suffix = ".exe" if os.name == "nt" else ""
    return [
        ("format", [*tool, "ruff", "format", "--check", "."]),
        ("lint", [*tool, "ruff", "check", "."]),
        ("types", [*tool, "mypy"]),
        ("layers", [str(tools / f"lint-imports{suffix}")]),
        ("dependencies", [*tool, "deptry", "."]),
    ]


def _pytest(python: Path, quick: bool) -> list[str]:
    """Return the command that runs all tests outside Blender."""
    command = [str(python), "-m", "pytest", "-q", "-n", "2", "--durations=25", "--ignore=tests/blender"]
    if quick:
        command += ["--ignore=tests/papers", "--ignore=tests/end_to_end", "--ignore=tests/benchmarks"]
    return command


def _blender_steps(python: Path, versions: list[str]) -> list[Outcome]:
    """Make the Blender environments, then run the tests that drive the add-on in each of them."""
    outcomes, pythons = [], []
    for version in versions:
        started = time.monotonic()
        try:
            pythons.append(f"{version}={blender.ensure_blender(version)}")
            outcomes.append(Outcome(f"Blender {version} environment", True, time.monotonic() - started))
        except SetupError as problem:
            print(problem, file=sys.stderr)
            outcomes.append(
                Outcome(f"Blender {version} environment", False, time.monotonic() - started, str(problem))
            )
    if pythons:
        command = [str(python), "-m", "pytest", "-q", "-n", "2", "--durations=10", "tests/blender"]
        outcomes.append(_run_step("tests in Blender", command, {blender.VARIABLE: ",".join(pythons)}))
    return outcomes


def _run_step(name: str, command: list[str], variables: dict[str, str]) -> Outcome:
    """Run one step in the checkout, its output shown as it comes."""
    print(f"\n== {name}: {' '.join(command[1:])}", flush=True)
    started = time.monotonic()
    # Two test processes with one thread each: more threads only fight over the same cores.
    environment = clean_variables() | {"OMP_NUM_THREADS": "1"} | variables
    status = subprocess.run(command, cwd=CHECKOUT, env=environment, check=False).returncode
    note = "" if status == 0 else f"exit status {status}"
    return Outcome(name, status == 0, time.monotonic() - started, note)


def _summary(outcomes: list[Outcome]) -> int:
    """Print how every step ended and return the exit status."""
    print("\n== summary")
    for outcome in outcomes:
        word = "passed" if outcome.passed else "FAILED"
        note = f"  {outcome.note.splitlines()[0]}" if outcome.note else ""
        print(f"{word:>7}  {outcome.seconds:7.1f} s  {outcome.name}{note}")
    failed = [outcome.name for outcome in outcomes if not outcome.passed]
    print(f"{len(failed)} of {len(outcomes)} steps failed" if failed else f"All {len(outcomes)} steps passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
