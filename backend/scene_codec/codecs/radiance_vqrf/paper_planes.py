"""Planes and lines as VQRF stores them, and the field that they stand for: VQ-TensoRF.

Source: Li et al. 2023, section 4.1: texels of planes are left out, coded or kept as nodes of a grid are;
lines, basis and network become half floats. As in the released code, kept texels are rounded channel by
channel, with the channel's mean as its zero.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scene_codec.voxel_fields.factored_model import FactoredModel, Factors

PLANES = 3
_STEPS_PER_DEVIATION = 15.0


@dataclass(frozen=True, eq=False)
class ChannelBytes:
    """Values in eight bits, by channel.

    stored : (n, c) int8; a value is (stored - zero) * scale
    scales, zeros : (c,) float32
    """

    stored: NDArray[np.int8]
    scales: NDArray[np.float32]
    zeros: NDArray[np.float32]

    def values(self) -> Tensor:
        """Return the values (n, c) float32."""
        steps = torch.from_numpy(self.stored.astype(np.float32) - self.zeros)
        return steps * torch.from_numpy(self.scales)


def channel_bytes(values: Tensor) -> ChannelBytes:
    """Return values (n, c) in eight bits."""
    wide = values.detach().double().cpu()
    if len(wide) > 1:
        scales, zeros = wide.std(dim=0) / _STEPS_PER_DEVIATION, wide.mean(dim=0).clamp(-100.0, 100.0)
    else:
        scales = torch.zeros(wide.shape[1], dtype=torch.float64)
        zeros = torch.zeros_like(scales)
    flat = scales.float() == 0.0
    largest = wide.abs().amax(dim=0) / 127.0 if len(wide) else torch.ones_like(scales)
    scales = torch.where(flat, largest, scales).float()
    scales = torch.where(scales > 0.0, scales, 1.0)
    zeros = torch.where(flat, 0.0, zeros).float()
    stored = (wide / scales.double() + zeros.double()).round().clamp(-128, 127)
    return ChannelBytes(stored.to(torch.int8).numpy(), scales.numpy(), zeros.numpy())


@dataclass(frozen=True, eq=False)
class PaperPlane:
    """A plane as a table of its texels, row by row.

    own : (kept texels, c) in eight bits
    codes : (other held texels,) uint16, rows of the codebook
    codebook : (k, c) float16
    """

    own: ChannelBytes
    codes: NDArray[np.uint16]
    codebook: NDArray[np.float16]

    def table(self, held: NDArray[np.bool_], kept: NDArray[np.bool_]) -> Tensor:
        """Return all texels (texels, c); those that are not held are zero."""
        table = torch.zeros((len(held), self.codebook.shape[1]))
        table[torch.from_numpy(kept)] = self.own.values()
        codebook = torch.from_numpy(self.codebook.astype(np.float32))
        table[torch.from_numpy(held & ~kept)] = codebook[torch.from_numpy(self.codes.astype(np.int64))]
        return table


@dataclass(frozen=True, eq=False)
class PaperPlanes:
    """A field of planes and lines in integers and half floats.

    held, kept : of each of three planes (texels,) bool, the same for density and appearance
    density, appearance : three planes each
    others : float16 arrays, lines, basis and network: `FactoredModel.parameters` without planes, in order
    mask : (nodes,) bool, `OverlapMask.held`; None without one
    """

    held: tuple[NDArray[np.bool_], ...]
    kept: tuple[NDArray[np.bool_], ...]
    density: tuple[PaperPlane, ...]
    appearance: tuple[PaperPlane, ...]
    others: tuple[NDArray[np.float16], ...]
    mask: NDArray[np.bool_] | None


def as_table(plane: Tensor) -> Tensor:
    """Return a plane (c, rows, columns) as a view (texels, c)."""
    return plane.flatten(1).t()


def plane_names(prefix: str) -> list[str]:
    """Return the names of the planes of the density or the appearance."""
    return [f"{prefix}_plane.{index}" for index in range(PLANES)]


def other_names(model: FactoredModel) -> list[str]:
    """Return the names of the parameters that are no planes."""
    planes = {*plane_names("density"), *plane_names("appearance")}
    return [name for name in model.parameters() if name not in planes]


def model_of_planes(
    stored: PaperPlanes, frame: FactoredModel, device: torch.device | None = None
) -> FactoredModel:
    """Return the field that stored values stand for.

    frame : a field of the right shapes, with any values
    """
    values = frame.parameters()
    for prefix, planes in (("density", stored.density), ("appearance", stored.appearance)):
        for index, (name, plane) in enumerate(zip(plane_names(prefix), planes, strict=True)):
            table = plane.table(stored.held[index], stored.kept[index])
            values[name] = table.t().reshape(values[name].shape).contiguous()
    for name, half in zip(other_names(frame), stored.others, strict=True):
        values[name] = torch.from_numpy(half.astype(np.float32))
    model = frame.with_parameters(values)
    if frame.mask is not None and stored.mask is not None:
        model = replace(model, mask=replace(frame.mask, held=torch.from_numpy(stored.mask)))
    return model if device is None else model.to(device)


def texels(factors: Factors) -> list[int]:
    """Return how many texels each plane has."""
    return [plane.shape[1] * plane.shape[2] for plane in factors.planes]
