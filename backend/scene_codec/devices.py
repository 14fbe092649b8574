"""Where tensors live: the user's word for a device turned into one that is really there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scene_codec.errors import InvalidRequestError

if TYPE_CHECKING:
    import torch


def check_device_name(name: str) -> None:
    """Raise `InvalidRequestError` unless a name is that of a device, there or not. Imports no torch."""
    kind, colon, number = name.partition(":")
    if name not in ("auto", "cpu") and (kind != "cuda" or (colon and not number.isdigit())):
        raise InvalidRequestError(f"There is no device '{name}'; choose auto, cpu, cuda or cuda:N.")


def resolve_device(name: str) -> torch.device:
    """Return the device for "auto" (CUDA when there is one), "cpu", "cuda" or "cuda:1".

    Raises `InvalidRequestError` when the device is unknown or not there.
    """
    import torch

    check_device_name(name)
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cpu":
        return torch.device("cpu")
    number = name.partition(":")[2]
    if not torch.cuda.is_available():
        raise InvalidRequestError(
            "CUDA was asked for, but torch sees no CUDA device here. Use --device cpu or auto."
        )
    if number and int(number) >= torch.cuda.device_count():
        raise InvalidRequestError(
            f"There is no CUDA device {number}; torch sees {torch.cuda.device_count()}."
        )
    return torch.device(name)
