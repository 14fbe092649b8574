"""What the backend's environment offers: versions, devices, and what to do about what is missing."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import sys
from typing import Any

DISTRIBUTION = "scene-codec"


def describe_environment() -> dict[str, Any]:
    """Return versions, packages, devices and advice as plain values. Imports torch."""
    import torch

    return {
        "version": package_version(DISTRIBUTION) or "unknown",
        "python": platform.python_version(),
        "executable": sys.executable,
        "platform": platform.platform(),
        "torch": str(torch.__version__),
        "packages": {name: package_version(name) for name in required_packages()},
        "devices": [_describe_cpu(), *cuda_devices(torch)],
        "advice": advice(torch),
    }


def required_packages() -> list[str]:
    """Return the names of the packages that the backend needs, without those of optional extras."""
    try:
        requirements = importlib.metadata.requires(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        return []
    needed = [line for line in requirements if "extra ==" not in line]
    names = [re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0] for line in needed]
    return sorted(names, key=str.lower)


def package_version(name: str) -> str | None:
    """Return the installed version of a distribution, or None."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _describe_cpu() -> dict[str, Any]:
    name = platform.processor() or platform.machine() or "CPU"
    memory = None
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {"id": "cpu", "name": f"{name}, {os.cpu_count()} cores", "memory_bytes": memory}


def cuda_devices(torch: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - a module
    """Return id, name and memory of every graphics card that `torch` can use."""
    if not torch.cuda.is_available():
        return []
    described = []
    for index in range(torch.cuda.device_count()):
        device = torch.cuda.get_device_properties(index)
        described.append({"id": f"cuda:{index}", "name": device.name, "memory_bytes": device.total_memory})
    return described


def advice(torch: Any) -> list[str]:  # noqa: ANN401 - a module
    """Return sentences for the user about graphics cards that are there but cannot be used."""
    if torch.cuda.is_available():
        return [_architecture_advice(torch, index) for index in _unsupported_devices(torch)]
    if shutil.which("nvidia-smi") is None:
        return []
    if torch.version.cuda is None:
        text = "This PyTorch is the build for the CPU, but there is an NVIDIA driver. "
        return [text + "Install the backend again for 'cuda' to use the graphics card."]
    return ["There is an NVIDIA driver, but PyTorch finds no usable graphics card. Update the driver."]


def _unsupported_devices(torch: Any) -> list[int]:  # noqa: ANN401 - a module
    """Return the cards for which this PyTorch has no code: they would fail at the first computation."""
    architectures = torch.cuda.get_arch_list()
    if any(name.startswith("compute_") for name in architectures):  # intermediate code fits newer cards
        return []
    return [
        index
        for index in range(torch.cuda.device_count())
        if not _runs_on(architectures, *torch.cuda.get_device_capability(index))
    ]


def _runs_on(architectures: list[str], major: int, minor: int) -> bool:
    built = [re.fullmatch(r"sm_(\d+)(\d)[a-z]?", name) for name in architectures]
    return any(match and int(match[1]) == major and int(match[2]) <= minor for match in built)


def _architecture_advice(torch: Any, index: int) -> str:  # noqa: ANN401 - a module
    name = torch.cuda.get_device_name(index)
    return f"This PyTorch has no code for {name}. Choose the device 'cpu', or install a newer PyTorch."
