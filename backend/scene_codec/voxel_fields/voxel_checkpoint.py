"""What is read from the file of a trained voxel field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from scene_codec.radiance.scene_domain import SceneDomain
from scene_codec.voxel_fields.voxel_model import VoxelModel

Family = Literal["dvgo", "plenoxels", "tensorf-vm", "tensorf-cp", "vqrf"]


@dataclass(frozen=True, kw_only=True, eq=False)
class VoxelCheckpoint:
    """A trained voxel field.

    model : on the processor, float32, without gradients
    family : whose files it is from
    domain : the space that it lives in, its box and from where it is best seen
    source_bytes : size of the files
    parameter_bytes : 4 for each trained number, as the family's own program holds them in memory
    step : training step, 0 when the file does not tell
    """

    model: VoxelModel
    family: Family
    domain: SceneDomain
    source_bytes: int
    parameter_bytes: int
    step: int


def parameter_bytes(model: VoxelModel) -> int:
    """Return 4 for each number of a model that can be trained."""
    return 4 * sum(values.numel() for values in model.parameters().values())
