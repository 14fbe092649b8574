"""`scene-codec doctor`: what is installed, which device is used, what to do about what is missing."""

from __future__ import annotations

import importlib
import importlib.util
import os
import platform
import sys

import msgspec

from scene_codec import environment
from scene_codec.cli.arguments import ReportArguments, parse
from scene_codec.cli.exit_codes import LEFT_OUT, OK
from scene_codec.cli.terminal import print_json, print_table, results, shown

HELP = """Check this installation: packages, device, what to do about what is missing."""

MODULES = {
    "fast-simplification": "fast_simplification",
    "libigl": "igl",
    "openexr": "OpenEXR",
    "pillow": "PIL",
    "pymcubes": "mcubes",
    "pynrrd": "nrrd",
}
"""Modules of packages whose names differ from them."""

OPTIONAL = {
    "DracoPy": ("DracoPy", "baselines"),
    "av": ("av", "video"),
}
PURPOSES = {"baselines": "for the comparison scripts", "video": "for films of radiance fields"}
"""What each extra is for."""


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One thing looked at: what was found, whether it will do, and what to do when it will not."""

    name: str
    found: str
    ok: bool
    advice: str = ""


class DoctorReport(msgspec.Struct, frozen=True, kw_only=True):
    """Everything `doctor` looked at; `ready` says whether encoding and decoding can work."""

    ready: bool
    device: str
    checks: tuple[Check, ...]


def doctor(arguments: list[str]) -> int:
    """Run `doctor` and return the exit status: 1 when something that is needed is missing."""
    options = parse(ReportArguments, "doctor", HELP, arguments)
    report = examine()
    if options.json:
        print_json(report)
    else:
        _show(report)
    return OK if report.ready else LEFT_OUT


def examine() -> DoctorReport:
    """Look at the installation without changing anything."""
    needed = [_python_check(), *(_package_check(name) for name in environment.required_packages())]
    device, device_check = _device_check()
    optional = [_optional_check(name, module, extra) for name, (module, extra) in OPTIONAL.items()]
    return DoctorReport(
        ready=all(check.ok for check in needed),
        device=device,
        checks=(*needed, device_check, *optional),
    )


def _python_check() -> Check:
    """Check the interpreter."""
    found = f"{platform.python_version()} ({sys.executable}), {platform.system()} {platform.machine()}"
    fits = sys.version_info >= (3, 11)
    return Check(name="Python", found=found, ok=fits, advice="" if fits else "install Python 3.11 or newer")


def _package_check(name: str) -> Check:
    """Check that a package imports; a broken binary shows only then."""
    try:
        importlib.import_module(MODULES.get(name, name))
    except Exception as problem:  # a damaged installation may raise anything
        reason = str(problem).splitlines()[0] if str(problem) else type(problem).__name__
        advice = f"pip install --force-reinstall {name}"
        return Check(name=name, found=f"does not import: {reason}", ok=False, advice=advice)
    return Check(name=name, found=_version(name), ok=True)


def _optional_check(name: str, module: str, extra: str) -> Check:
    """Look for a package that only few things need."""
    if importlib.util.find_spec(module) is not None:
        return Check(name=name, found=_version(name), ok=True)
    advice = f"only {PURPOSES[extra]}: pip install 'scene-codec[{extra}]'"
    return Check(name=name, found="not installed (optional)", ok=True, advice=advice)


def _device_check() -> tuple[str, Check]:
    """Return the device that `auto` takes, and what was found about it."""
    try:
        import torch
    except Exception:  # reported by the package check already
        return "none", Check(
            name="device", found="torch does not import", ok=False, advice="repair torch first"
        )
    trouble = " ".join(environment.advice(torch))
    cards = environment.cuda_devices(torch)
    if cards:
        found = f"CUDA: {cards[0]['name']}, {cards[0]['memory_bytes'] / 1e9:.1f} GB"
        return "cuda", Check(name="device", found=found, ok=not trouble, advice=trouble)
    threads = torch.get_num_threads()
    found = f"CPU: {os.cpu_count()} cores, {threads} threads; torch {torch.__version__} sees no CUDA device"
    works = "works everywhere; with an NVIDIA card, a CUDA build of torch encodes many times faster"
    return "cpu", Check(name="device", found=found, ok=True, advice=trouble or works)


def _version(name: str) -> str:
    """Return the installed version of a distribution."""
    return environment.package_version(name) or "installed, version unknown"


def _show(report: DoctorReport) -> None:
    """Print the checks, what to do, and the verdict."""
    rows = [
        (check.name, "ok" if check.ok else "MISSING", shown(check.found), shown(check.advice))
        for check in report.checks
    ]
    print_table("Installation", ("what", "state", "found", "what to do"), rows, text_columns=4)
    verdict = f"Ready; computes on: {report.device}." if report.ready else "Not ready: see what to do above."
    results().print(verdict)
