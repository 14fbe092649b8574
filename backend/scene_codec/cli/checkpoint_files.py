"""Voxel fields decoded into checkpoints, which the programs that train such fields open."""

from __future__ import annotations

from pathlib import Path

from scene_codec.errors import InvalidRequestError, UnsupportedSceneError
from scene_codec.radiance.radiance_object import RadianceObject

CHECKPOINT_FORMAT = "tar"


def write_field_checkpoint(item: RadianceObject, path: Path) -> int:
    """Write a field in the layout of DirectVoxGO; return how many nodes its grid has.

    Raises `UnsupportedSceneError` for fields that the layout cannot say.
    """
    from scene_codec.voxel_fields.dvgo_writer import write_dvgo_checkpoint
    from scene_codec.voxel_fields.grid_model import GridModel
    from scene_codec.voxel_fields.voxel_field import VoxelField

    model = item.field.model if isinstance(item.field, VoxelField) else None
    if not isinstance(item.field, VoxelField) or not isinstance(model, GridModel):
        kind = "a network" if model is None else "made of planes and lines"
        raise UnsupportedSceneError(
            f"This field is {kind} and no grid: the layout of DirectVoxGO cannot say it. Take its surface or "
            "its density, in a format of meshes or volumes."
        )
    try:
        write_dvgo_checkpoint(path, model, item.field.domain, step=0)
    except InvalidRequestError as problem:
        raise UnsupportedSceneError(
            f"{problem} Take its surface or its density, in a format of meshes or volumes."
        ) from problem
    return model.index.lattice.nodes
