"""What a comparison says of two volumes, ready for JSON."""

from __future__ import annotations

import msgspec


class GridComparison(msgspec.Struct, frozen=True, kw_only=True):
    """One grid against its original.

    shape : voxels of the box around both; active_voxels : of the original
    low, high : finite active values of the original, all channels together
    psnr : dB over the active voxels, against the largest range of a channel; box_psnr over all voxels of the
        box; both None where there is no error or no range
    max_error : of a finite active voxel; max_error_at is its lattice index
    exact : every active voxel is the same bit of information, and the same ones are active
    topology_differences : voxels active in one of the two alone
    not_finite_differences : active voxels where a NaN or an infinity has changed
    axis, slices : lattice indices of what was drawn; no slices where there is no voxel or no room
    """

    name: str
    kind: str
    type: str
    channels: int
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    active_voxels: int
    low: float
    high: float
    psnr: float | None
    box_psnr: float | None
    max_error: float
    max_error_at: tuple[int, int, int] | None
    exact: bool
    topology_differences: int
    not_finite_differences: int
    axis: str
    slices: tuple[int, ...]


class ComparisonReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was compared, and how far it is apart.

    original_grids : how many the original has, compared or not
    object, codec : of the .nscene file; None when a file of volumes was compared
    file_bytes : of the whole file; compared_bytes : of this volume alone, with an even share of what the
        objects of the file have in common
    source_bytes : of the original's file; binary_bytes : of its plain values
    bits_per_voxel : compared_bytes over the voxels of all grids' boxes; None without a voxel
    bits_per_active_voxel : over their active voxels
    only_in_original, only_in_file : grids without a partner
    """

    original: str
    original_grids: int
    file: str
    object: str | None
    codec: str | None
    file_bytes: int
    compared_bytes: float
    source_bytes: int
    binary_bytes: int
    ratio_to_source: float
    ratio_to_binary: float
    bits_per_voxel: float | None
    bits_per_active_voxel: float | None
    grids: tuple[GridComparison, ...]
    only_in_original: tuple[str, ...]
    only_in_file: tuple[str, ...]
