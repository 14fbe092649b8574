"""TSDF-Def: a distance grid whose vertices move to where the surface needs them.

The paper fits values and displacements by rendering (Algorithm 1), which takes a GPU rasteriser and sees
outer surfaces only. Here three direct steps take seconds on one core: exact distances in a narrow band; grid
vertices moved into parts that the lattice misses (`thin_parts`); and a two-sided surface fit with fixed
topology (`surface_refinement`). Displacements stay zero wherever none is needed, and away from the surface.
"""

from __future__ import annotations

import msgspec
import numpy as np

from scene_codec.geometry.closing_surfaces import trusted_sides
from scene_codec.geometry.deformable_grid import TRUNCATION_CELLS, TsdfGrid, cell_width, check_resolution
from scene_codec.geometry.marching_cubes import extract
from scene_codec.geometry.scene_object import TriangleMesh
from scene_codec.geometry.signed_distance import SurfaceDistance, narrow_band
from scene_codec.geometry.surface_refinement import RefinementSettings, refine_grid
from scene_codec.geometry.thin_parts import ThinPartSettings, catch_thin_parts, missed_by
from scene_codec.geometry.tsdf_grid import truncated_distances
from scene_codec.progress import Progress

FIT_VERSION = "2"
"""Changes whenever the same mesh gives another grid; part of the key of cached results."""

_SAMPLE_REACH_CELLS = 1.0


class FitSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The two stages of the fit, and how open surfaces are taken."""

    largest_invented_cells: float = 0.25
    """Mean error that the winding number's closing of an opening may cost before its walls become sheets."""

    thin_parts: ThinPartSettings = ThinPartSettings()
    refinement: RefinementSettings = RefinementSettings()


def fit_tsdf_grid(
    mesh: TriangleMesh,
    resolution: int,
    settings: FitSettings | None = None,
    progress: Progress | None = None,
) -> TsdfGrid:
    """Return a grid with displacements whose surface follows the mesh, thin parts and open sheets included.

    mesh : in frame coordinates, inside [-1, 1]
    The same mesh, resolution and settings give the same grid.
    Raises `Cancelled`, and `InvalidRequestError` for a resolution outside 8 to 512.
    """
    check_resolution(resolution)
    settings = FitSettings() if settings is None else settings
    progress = Progress() if progress is None else progress
    cell = cell_width(resolution)
    surface = SurfaceDistance(mesh)
    progress.update(0.0, "measuring distances")
    band = narrow_band(surface, resolution, TRUNCATION_CELLS)
    sides = trusted_sides(surface, band, settings.largest_invented_cells)
    values = truncated_distances(band, sides.inside)
    deformation = np.zeros((*values.shape, 3), dtype=np.float32)
    progress.update(0.2, "looking for thin parts")
    missed = missed_by(extract(TsdfGrid(values)), band.closest.points, cell)
    moved = catch_thin_parts(surface, band, sides, missed, settings.thin_parts)
    at = tuple(moved.nodes.T)
    values[at] = moved.values
    deformation[at] = moved.deformation
    near = band.closest.distances < _SAMPLE_REACH_CELLS * cell
    grid = TsdfGrid(values, deformation)
    return refine_grid(
        surface, grid, band.closest.points[near], settings.refinement, progress.part(0.4, 1.0, "fit")
    )
