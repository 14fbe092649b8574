"""Where tensors live: the user's word for a device turned into one that is really there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scene_codec.errors import InvalidRequestError

if TYPE_CHECKING:
    import torch


def resolve_device(name: str) -> torch.device:
    """Return the device for "auto" (CUDA when there is one), "cpu", "cuda" or "cuda:1".

    Raises `InvalidRequestError` when the device is unknown or not there.
    """
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, number = name.partition(":")
    if name == "cpu":
        return torch.device("cpu")
    if kind != "cuda" or (number and not number.isdigit()):
        raise InvalidRequestError(f"There is no device '{name}'; choose auto, cpu, cuda or cuda:N.")
    if not torch.cuda.is_available():
        raise InvalidRequestError(
            "CUDA was asked for, but torch sees no CUDA device here. Use --device cpu or auto."
        )
    if number and int(number) >= torch.cuda.device_count():
        raise InvalidRequestError(
            f"There is no CUDA device {number}; torch sees {torch.cuda.device_count()}."
        )
    return torch.device(name)
