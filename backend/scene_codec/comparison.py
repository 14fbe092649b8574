"""Draws a volume beside what came back from its file, and says how far the two are apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scene_codec import api
from scene_codec.codecs.registry import all_codecs
from scene_codec.errors import InvalidRequestError, UnsupportedSceneError
from scene_codec.geometry.mesh_files import READABLE_SUFFIXES as MESH_SUFFIXES
from scene_codec.geometry.object_names import unique_names
from scene_codec.pictures.captions import grid_heading, sheet_heading
from scene_codec.pictures.grid_difference import GridDifference, measure
from scene_codec.pictures.grid_pair import GridPair, grid_pair
from scene_codec.pictures.records import ComparisonReport, GridComparison
from scene_codec.pictures.sheet import GridBlock, draw_sheet
from scene_codec.pictures.slices import AXES, Axis, slice_images, spread_slices, view_along
from scene_codec.progress import Progress
from scene_codec.reports import FileSummary, ObjectSummary
from scene_codec.volumes.volume import VolumeGrid, VolumeObject
from scene_codec.volumes.volume_file_search import find_volume_files
from scene_codec.volumes.volume_files import load_volume, volume_suffix

MAX_SLICES = 12
MAX_GRIDS_DRAWN = 24


@dataclass(frozen=True, kw_only=True)
class SliceChoice:
    """What to draw.

    grids : names of the wanted grids, all by default
    axis : the slices are perpendicular to it; by default y of OpenVDB files, whose z is up, and z of others
    slices : how many, chosen where there is something to see
    at : lattice indices of the slices, instead of choosing them
    difference_range : end of the scale of differences in units of the values, to compare pictures with each
        other; by default what fits
    """

    grids: tuple[str, ...] = ()
    axis: Axis | None = None
    slices: int = 3
    at: tuple[int, ...] = ()
    difference_range: float | None = None

    def check(self) -> None:
        """Raise `InvalidRequestError` for numbers out of range."""
        if not 1 <= max(self.slices, len(self.at)) <= MAX_SLICES or self.slices < 1:
            raise InvalidRequestError(f"There is room for 1 to {MAX_SLICES} slices.")
        limit = self.difference_range
        if limit is not None and not (math.isfinite(limit) and limit > 0.0):
            raise InvalidRequestError("The range of differences must be a positive number.")
        if self.axis is not None and self.axis not in AXES:
            raise InvalidRequestError(f"There is no axis '{self.axis}': x, y and z are there.")


@dataclass(frozen=True)
class _Sides:
    """Both volumes, and what the compared file takes."""

    original: VolumeObject
    original_path: Path
    decoded: VolumeObject
    file: Path
    object: str | None
    codec: str | None
    file_bytes: int
    compared_bytes: float


def compare(
    original: Path | str,
    file: Path | str,
    choice: SliceChoice | None = None,
    *,
    object_name: str | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> tuple[ComparisonReport, bytes]:
    """Compare a volume with what is in a file; return figures, and a picture of slices as a PNG file.

    original : a volume file, a folder of slices, or a folder or sequence with the original among its files
    file : a .nscene file, whose object of the original's name is decoded, or another file of a volume
    object_name : which object of the .nscene file, when names do not tell

    Raises `UnsupportedSceneError` for volumes that cannot be laid over each other, `InvalidRequestError`,
    `CorruptFileError`, `UnsupportedVersionError`, `Cancelled`.
    """
    choice = choice or SliceChoice()
    choice.check()
    progress = progress or Progress()
    sides = _load(Path(original), Path(file), object_name, device, progress.part(0.0, 0.5, "decoding"))
    pairs, without = _pairs(sides, choice)
    compared: list[GridComparison] = []
    blocks: list[GridBlock] = []
    part = progress.part(0.5, 0.95, "comparing")
    for index, pair in enumerate(pairs):
        own = part.part(index / len(pairs), (index + 1) / len(pairs), pair.original.name)
        comparison, block = _grid(pair, sides, choice, own, drawn=index < MAX_GRIDS_DRAWN)
        compared.append(comparison)
        if block is not None:
            blocks.append(block)
    report = _report(sides, tuple(compared), without)
    picture = draw_sheet(sheet_heading(report, len(pairs) - len(blocks)), blocks)
    progress.update(1.0)
    return report, picture


def _load(original: Path, file: Path, object_name: str | None, device: str, progress: Progress) -> _Sides:
    """Return both volumes."""
    for path in (original, file):
        if path.name.lower().endswith(MESH_SUFFIXES):
            raise _no_meshes(path)
    if volume_suffix(file) or file.is_dir():
        if object_name is not None:
            raise InvalidRequestError(f"'{file}' is no .nscene file and holds no object '{object_name}'.")
        decoded = load_volume(file)
        ((path, _),) = [_only(_candidates(original), original)]
        size = decoded.source_bytes
        return _Sides(load_volume(path), path, decoded, file, None, None, size, size)
    summary = api.inspect(file)
    codec = all_codecs().get(summary.codec)
    if codec is not None and codec.info.content != "volume":
        raise _no_meshes(file) if codec.info.content == "mesh" else _no_fields(file)
    path, entry = _partners(_candidates(original), original, summary, object_name)
    volume = load_volume(path)
    (decoded_item,) = api.decode(file, only=entry.name, device=device, progress=progress)
    if not isinstance(decoded_item, VolumeObject):
        raise _no_meshes(file)
    own = sum(item.bytes for item in summary.objects)
    share = (summary.file_bytes - own) / len(summary.objects)
    return _Sides(
        volume, path, decoded_item, file, entry.name, summary.codec, summary.file_bytes, entry.bytes + share
    )


def _no_meshes(path: Path) -> InvalidRequestError:
    return InvalidRequestError(
        f"'{path}' holds meshes, and compare draws volumes. For meshes: scene-codec evaluate FILE.nscene "
        "--reference ORIGINALS"
    )


def _no_fields(path: Path) -> InvalidRequestError:
    return InvalidRequestError(
        f"'{path}' holds radiance fields, and compare draws volumes. For radiance fields: scene-codec "
        "evaluate FILE.nscene --images DATASET"
    )


def _candidates(original: Path) -> dict[str, Path]:
    """Return the volumes that `original` may mean, under the names that `encode` gives them."""
    if original.suffix.lower() == ".nscene":
        raise InvalidRequestError(f"'{original}' is no file of a volume. The original comes first.")
    paths = find_volume_files([original])
    names = [path.name if path.is_dir() else path.name[: -len(volume_suffix(path))] for path in paths]
    return dict(zip(unique_names(names), paths, strict=True))


def _only(candidates: dict[str, Path], original: Path) -> tuple[Path, str]:
    if len(candidates) > 1:
        raise InvalidRequestError(f"'{original}' holds {len(candidates)} volumes; name one of their files.")
    name, path = next(iter(candidates.items()))
    return path, name


def _partners(
    candidates: dict[str, Path], original: Path, summary: FileSummary, object_name: str | None
) -> tuple[Path, ObjectSummary]:
    """Return which original and which object of the file belong together."""
    objects = {item.name: item for item in summary.objects}
    if object_name is not None:
        if object_name not in objects:
            raise InvalidRequestError(
                f"There is no object '{object_name}' in '{summary.path}'. It holds: {_listed(list(objects))}."
            )
        if object_name in candidates:
            return candidates[object_name], objects[object_name]
        return _only(candidates, original)[0], objects[object_name]
    common = [name for name in candidates if name in objects]
    if len(common) == 1:
        return candidates[common[0]], objects[common[0]]
    if len(candidates) == len(objects) == 1:
        return next(iter(candidates.values())), next(iter(objects.values()))
    held = _listed(common or list(objects))
    why = "Several volumes have a partner" if common else "No object has the name of an original"
    raise InvalidRequestError(f"{why}; choose with --object NAME. '{summary.path}' holds: {held}.")


def _listed(names: Sequence[str]) -> str:
    return (", ".join(f"'{name}'" for name in names[:10]) + (", ..." if len(names) > 10 else "")) or "nothing"


def _pairs(
    sides: _Sides, choice: SliceChoice
) -> tuple[list[GridPair], tuple[tuple[str, ...], tuple[str, ...]]]:
    """Return the grids that belong together, and the names of those without a partner on each side."""
    originals = {grid.name: grid for grid in sides.original.grids}
    decoded = {grid.name: grid for grid in sides.decoded.grids}
    if len(originals) == len(decoded) == 1:
        # Formats without names for their grids make one up.
        decoded = {next(iter(originals)): next(iter(decoded.values()))}
    unknown = [name for name in choice.grids if name not in originals]
    if unknown:
        raise InvalidRequestError(
            f"There is no grid '{unknown[0]}' in '{sides.original_path}'. "
            f"It holds: {_listed(list(originals))}."
        )
    wanted = choice.grids or tuple(originals)
    common = [name for name in originals if name in wanted and name in decoded]
    if not common:
        raise UnsupportedSceneError(
            f"No grid is in both files: '{sides.original_path}' holds {_listed(list(originals))}, "
            f"'{sides.file}' {_listed(list(decoded))}."
        )
    lone = tuple(name for name in wanted if name not in decoded)
    added = () if choice.grids else tuple(name for name in decoded if name not in originals)
    return [grid_pair(originals[name], decoded[name]) for name in common], (lone, added)


def _grid(
    pair: GridPair, sides: _Sides, choice: SliceChoice, progress: Progress, *, drawn: bool
) -> tuple[GridComparison, GridBlock | None]:
    """Measure one grid and cut its slices."""
    fallback: Axis = "y" if sides.original.file_format == "vdb" else "z"
    axis = AXES.index(choice.axis or fallback)
    view = view_along(axis, pair.original, sides.original.file_format)
    found = measure(pair, axis, progress.update)
    places: list[int] = []
    if drawn and pair.voxels:
        places = _places(pair, axis, found, choice)
    longest = 240 if len(places) <= 4 else 180 if len(places) <= 8 else 140
    slices = tuple(slice_images(pair, view, place, longest) for place in places)
    comparison = _grid_comparison(pair, found, axis, tuple(part.index for part in slices))
    if not drawn:
        return comparison, None
    signed = pair.original.channels == 1
    return comparison, GridBlock(
        grid_heading(comparison, pair.original),
        view,
        slices,
        found.low,
        found.high,
        choice.difference_range,
        signed,
    )


def _places(pair: GridPair, axis: int, found: GridDifference, choice: SliceChoice) -> list[int]:
    """Return which slices of the pair's box to draw."""
    if not choice.at:
        return spread_slices(found.content, choice.slices)
    first, count = pair.low[axis], pair.shape[axis]
    outside = [index for index in choice.at if not 0 <= index - first < count]
    if outside:
        raise InvalidRequestError(
            f"There is no slice {AXES[axis]} = {outside[0]} in grid '{pair.original.name}': it has "
            f"{first} to {first + count - 1}."
        )
    return [index - first for index in choice.at]


def _grid_comparison(
    pair: GridPair, found: GridDifference, axis: int, slices: tuple[int, ...]
) -> GridComparison:
    """Return the figures of a grid."""
    grid = pair.original
    x, y, z = (float(step) for step in np.linalg.norm(grid.to_object[:3, :3], axis=0))
    return GridComparison(
        name=grid.name,
        kind=grid.kind,
        type=str(grid.values.dtype),
        channels=grid.channels,
        shape=pair.shape,
        spacing=(x, y, z),
        active_voxels=found.active_voxels,
        low=found.low,
        high=found.high,
        psnr=found.psnr,
        box_psnr=found.box_psnr,
        max_error=found.max_error,
        max_error_at=found.max_error_at,
        exact=found.exact,
        topology_differences=found.topology_differences,
        not_finite_differences=found.not_finite_differences,
        axis=AXES[axis],
        slices=slices,
    )


def _report(
    sides: _Sides, grids: tuple[GridComparison, ...], without: tuple[tuple[str, ...], tuple[str, ...]]
) -> ComparisonReport:
    """Return the figures of the whole comparison; sizes are those of the volume with all its grids."""
    binary = sum(grid.values.nbytes for grid in sides.original.grids)
    voxels = sum(math.prod(grid.shape) for grid in sides.original.grids)
    active = sum(_active(grid) for grid in sides.original.grids)
    taken = sides.compared_bytes
    return ComparisonReport(
        original=str(sides.original_path),
        original_grids=len(sides.original.grids),
        file=str(sides.file),
        object=sides.object,
        codec=sides.codec,
        file_bytes=sides.file_bytes,
        compared_bytes=taken,
        source_bytes=sides.original.source_bytes,
        binary_bytes=binary,
        ratio_to_source=sides.original.source_bytes / taken,
        ratio_to_binary=binary / taken,
        bits_per_voxel=8 * taken / voxels if voxels else None,
        bits_per_active_voxel=8 * taken / active if active else None,
        grids=grids,
        only_in_original=without[0],
        only_in_file=without[1],
    )


def _active(grid: VolumeGrid) -> int:
    return math.prod(grid.shape) if grid.active is None else int(grid.active.sum())
