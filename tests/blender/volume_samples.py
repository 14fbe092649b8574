"""Small volumes for the tests in Blender, made and compared outside it, where OpenVDB files can be written.

`volume_samples.py make FOLDER` writes `smoke.vdb` (several grids, one empty), `ball.vdb` (a level set) and
`cache/puff_0001.vdb` to `puff_0006.vdb`; `volume_samples.py compare FILE FILE` prints as JSON, for each grid
of the first file, whether the active voxels are the same, the largest difference, and the range of values.
"""

import json
import sys
from pathlib import Path

import numpy as np

from scene_codec.volumes.vdb_file import load_vdb, save_vdb
from scene_codec.volumes.volume import VolumeGrid, VolumeObject

FRAMES = range(1, 7)


def main() -> None:
    """Do what the command line says."""
    if sys.argv[1] == "make":
        make(Path(sys.argv[2]))
    else:
        sys.stdout.write(json.dumps(compare(Path(sys.argv[2]), Path(sys.argv[3]))))


def make(folder: Path) -> None:
    """Write all samples."""
    save_vdb(smoke(0.0), folder / "smoke.vdb")
    save_vdb(ball(), folder / "ball.vdb")
    (folder / "cache").mkdir()
    for number in FRAMES:
        save_vdb(smoke(number / 2), folder / "cache" / f"puff_{number:04d}.vdb")


def smoke(time: float) -> VolumeObject:
    """Return a cloud that rises and turns, as Mantaflow writes it: 2 units wide, 3 high."""
    size = np.array([20, 20, 30])
    to_object = np.diag([0.1, 0.1, 0.1, 1.0])
    places = np.moveaxis(np.indices(size), 0, -1) + 0.5
    centre = np.array([10 + 2 * np.sin(time), 10, 9 + 2 * time])
    ripples = 1 + 0.4 * np.sin(places @ [0.9, 0.5, 0.7] + time)
    distance = np.linalg.norm(places - centre, axis=-1)
    density = np.maximum(0, 1.2 - distance / 7) * ripples
    active = density > 0
    velocity = np.stack([np.sin(places[..., 1] / 6), np.cos(places[..., 0] / 6), density], axis=-1)
    grids = (
        _grid("density", density, active, to_object),
        _grid("temperature", 2 * density + 0.1 * active, active, to_object),
        _grid("velocity", velocity * active[..., None], active, to_object, "staggered", (0.0, 0.0, 0.0)),
        VolumeGrid("flame", np.zeros((0, 0, 0), np.float32), to_object=to_object, kind="fog volume"),
    )
    return VolumeObject("smoke", grids, metadata={"creator": "a test"})


def ball() -> VolumeObject:
    """Return the level set of a ball of radius 1 around the origin."""
    voxel = 0.08
    places = np.moveaxis(np.indices((34, 34, 34)), 0, -1) - 16.5
    distance = (np.linalg.norm(places, axis=-1) * voxel - 1.0).astype(np.float32)
    band = 3 * voxel
    grid = _grid("surface", np.clip(distance, -band, band), np.abs(distance) < band, np.eye(4), "level set")
    to_object = np.diag([voxel, voxel, voxel, 1.0])
    to_object[:3, 3] = -16.5 * voxel
    grid = VolumeGrid(
        grid.name, grid.values, grid.active, background=(band,), to_object=to_object, kind="level set"
    )
    return VolumeObject("ball", (grid,))


def _grid(name, values, active, to_object, kind="fog volume", background=(0.0,)) -> VolumeGrid:
    return VolumeGrid(
        name, values.astype(np.float32), active, background=background, to_object=to_object, kind=kind
    )


def compare(one: Path, other: Path) -> dict[str, dict[str, object]]:
    """Return what differs between two files, grid by grid."""
    second = {grid.name: grid for grid in load_vdb(other).grids}
    found = {}
    for grid in load_vdb(one).grids:
        twin = second[grid.name]
        same = grid.shape == twin.shape and grid.corner == twin.corner
        values, others = (item.values.astype(np.float64) for item in (grid, twin))
        found[grid.name] = {
            "same voxels": bool(same and np.array_equal(grid.active, twin.active)),
            "same place": bool(np.allclose(grid.to_object, twin.to_object)) and grid.kind == twin.kind,
            "error": float(np.abs(values - others).max()) if same and values.size else 0.0,
            "range": float(np.ptp(values)) if values.size else 0.0,
        }
    return found


if __name__ == "__main__":
    main()
