"""OpenVDB files between Blender's own OpenVDB and the backend, which reads and writes them without it."""

import json
import os
import subprocess
from pathlib import Path

import bpy
import numpy as np

from scenarios.laboratory import PYTHON, Laboratory

EXCHANGE = Path(os.environ["SCENE_CODEC_TEST_CHECKOUT"]) / "tests" / "blender" / "vdb_exchange.py"
FIRST_WITH_OPENVDB = (4, 4)
REFUSED = {"frustum", "points", "too large"}
COMPUTED = {f"file_{key}" for key in ("bbox_min", "bbox_max", "compression", "mem_bytes", "voxel_count")}
COMPRESSIONS = ("zip", "blosc", "none")


def the_backend_loads_what_openvdb_writes(laboratory: Laboratory) -> None:
    openvdb = _openvdb()
    if openvdb is None:
        return
    path = laboratory.path("größe.vdb")
    originals = _write_grids(openvdb, path)
    _backend("dump", path, laboratory.folder)
    found = json.loads(Path(laboratory.path("grids.json")).read_text("utf-8"))
    assert found["metadata"]["made by"] == "a test"
    for name in REFUSED:
        assert f"grid '{name}'" in found["metadata"]["skipped_grids"]
    # OpenVDB lists grids by name, the backend as the file has them.
    numbered = sorted(enumerate(found["grids"]), key=lambda item: _original_name(item[1]))
    for (index, record), grid in zip(numbered, originals, strict=True):
        values, active = (np.load(laboratory.path(f"{kind}_{index}.npy")) for kind in ("values", "active"))
        _assert_same_box(grid, values, active, record["corner"])
        _assert_same_settings(record, grid)


def openvdb_loads_what_the_backend_saves(laboratory: Laboratory) -> None:
    openvdb = _openvdb()
    if openvdb is None:
        return
    path = laboratory.path("in.vdb")
    originals = _write_grids(openvdb, path)
    _backend("save", path, laboratory.folder)
    for compression in COMPRESSIONS:
        saved, metadata = openvdb.readAll(laboratory.path(f"{compression}.vdb"))
        assert metadata["made by"] == "a test"
        assert [grid.name for grid in saved] == [grid.name for grid in originals]
        for original, grid in zip(originals, saved, strict=True):
            _assert_same_grid(original, grid)


def a_level_set_keeps_its_leaves_and_its_inside(laboratory: Laboratory) -> None:
    openvdb = _openvdb()
    if openvdb is None:
        return
    path = laboratory.path("in.vdb")
    sphere = openvdb.createLevelSetSphere(90.0, (40.0, 0.0, -70.0), 0.5, 3.0)
    openvdb.write(path, grids=[sphere])
    _backend("save", path, laboratory.folder)
    for compression in COMPRESSIONS:
        grid = openvdb.readAll(laboratory.path(f"{compression}.vdb"))[0][0]
        assert grid.leafCount() == sphere.leafCount()
        values = grid.getConstAccessor().getValue
        assert values((80, 0, -140)) == -sphere.background
        assert values((80, 0, 200)) == sphere.background


def blender_loads_and_saves_what_the_backend_saves(laboratory: Laboratory) -> None:
    openvdb = _openvdb()
    if openvdb is None:
        return
    path = laboratory.path("in.vdb")
    originals = [grid for grid in _write_grids(openvdb, path) if grid.valueTypeName != "vec3i"]
    _backend("save", path, laboratory.folder)
    for compression in COMPRESSIONS:
        volume = bpy.data.volumes.new(compression)
        volume.filepath = laboratory.path(f"{compression}.vdb")
        assert volume.grids.load(), volume.grids.error_message
        assert {grid.name for grid in originals} <= {grid.name for grid in volume.grids}
        for grid in volume.grids:
            assert grid.load()
            assert grid.data_type != "UNKNOWN"
        assert volume.grids.save(laboratory.path("again.vdb"))
        again = {grid.name: grid for grid in openvdb.readAll(laboratory.path("again.vdb"))[0]}
        for original in originals:
            if [grid.name for grid in originals].count(original.name) == 1:
                _assert_same_box(again[original.name], *_box_of(original))


def _openvdb():
    """Return Blender's OpenVDB module; releases before 4.4 come without one."""
    if bpy.app.version < FIRST_WITH_OPENVDB:
        return None
    bpy.utils.expose_bundled_modules()
    import openvdb

    return openvdb


def _backend(what: str, path: str, folder: Path) -> None:
    command = [PYTHON, str(EXCHANGE), what, path, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def _write_grids(openvdb, path: str) -> list:
    """Write grids of every kind and return those that the backend is to load, as OpenVDB reads them."""
    grids = [*_typed_grids(openvdb), *_tiled_grids(openvdb), *_masked_grids(openvdb), *_placed_grids(openvdb)]
    grids += [*_shared_and_unnamed_grids(openvdb), *_refused_grids(openvdb)]
    openvdb.write(path, grids=grids, metadata={"made by": "a test"})
    return [grid for grid in openvdb.readAll(path)[0] if grid.name not in REFUSED]


def _named(grid, name: str, kind: str = "unknown"):
    grid.name, grid.gridClass = name, kind
    return grid


def _typed_grids(openvdb):
    generator = np.random.default_rng(1)
    shape, corner = (13, 9, 21), (-9, 3, -4)
    for number, kind in ((np.float32, "Float"), (np.float64, "Double"), (bool, "Bool"), (np.int32, "Int32")):
        grid = getattr(openvdb, f"{kind}Grid")()
        grid.copyFromArray((generator.normal(size=shape) * 3).astype(number), corner)
        yield _named(grid, kind, "fog volume")
    for number, kind in ((np.float32, "Vec3S"), (np.float64, "Vec3D"), (np.int32, "Vec3I")):
        grid = getattr(openvdb, f"{kind}Grid")((1, -2, 3))
        grid.copyFromArray((generator.normal(size=(*shape, 3)) * 3).astype(number), corner)
        yield _named(grid, kind, "staggered")
    large = openvdb.Int64Grid(-(2**61))
    large.getAccessor().setValueOn((5, 6, 7), 2**62 + 1)
    yield _named(large, "Int64")
    half = openvdb.Vec3SGrid()
    half.copyFromArray(generator.normal(size=(*shape, 3)).astype(np.float16).astype(np.float32), corner)
    half.saveFloatAsHalf = True
    yield _named(half, "half velocity", "staggered")
    inverted = openvdb.BoolGrid(True)
    inverted.copyFromArray(generator.random(shape) < 0.5, corner)
    yield _named(inverted, "true outside")
    odd = np.full((8, 8, 8), 2.0, np.float32)
    odd[0, 0, :4] = np.nan, np.inf, -np.inf, -0.0
    strange = openvdb.FloatGrid()
    strange.copyFromArray(odd, (0, 0, 0))
    yield _named(strange, "strange")
    yield _named(openvdb.FloatGrid(0.5), "empty", "fog volume")


def _tiled_grids(openvdb):
    tiles = openvdb.FloatGrid(0.25)
    tiles.fill((-3, -3, -3), (130, 130, 130), 2.5, True)
    tiles.fill((8, 8, 8), (60, 31, 70), 7.0, False)
    yield _named(tiles, "tiles")
    root = openvdb.Int32Grid(4)
    root.fill((4096, 0, 0), (8191, 4095, 4095), 3, False)
    root.getAccessor().setValueOn((4095, 0, 0), 1)
    root.getAccessor().setValueOn((8192, 1, 1), 2)
    yield _named(root, "tile of the root")
    booleans = openvdb.BoolGrid(False)
    booleans.fill((0, 0, 0), (127, 127, 127), True, True)
    booleans.fill((128, 0, 0), (140, 20, 20), True, False)
    booleans.getAccessor().setValueOn((150, 0, 0), False)
    yield _named(booleans, "Boolean tiles")
    for half in (False, True):
        sphere = openvdb.createLevelSetSphere(20.0, (3.0, 4.0, 5.0), 0.5, 3.0)
        sphere.saveFloatAsHalf = half
        yield _named(sphere, f"sphere {'half' if half else 'full'}", "level set")


def _masked_grids(openvdb):
    """One leaf each for the codes of inactive values: one or two values, with or without the background."""
    choices = {
        "one": [4.0],
        "minus": [-0.5],
        "both": [0.5, -0.5],
        "one and background": [4.0, 0.5],
        "two": [4.0, 5.0],
        "three": [4.0, 5.0, 6.0],
    }
    for half in (False, True):
        for name, inactive in choices.items():
            grid = openvdb.FloatGrid(0.5)
            grid.saveFloatAsHalf = half
            access = grid.getAccessor()
            for index, place in enumerate(np.ndindex(8, 8, 8)):
                if index % 3:
                    access.setValueOff(place, inactive[index % len(inactive)])
                else:
                    access.setValueOn(place, index / 512)
            yield _named(grid, f"inactive {name} {half}")


def _placed_grids(openvdb):
    for name, change in {
        "moved": lambda transform: transform.postTranslate((0.1, -2.0, 30.0)),
        "scaled": lambda transform: transform.preScale((0.5, 0.25, 2.0)),
        "mirrored": lambda transform: transform.preScale((-0.5, 0.5, 0.5)),
        "rotated": lambda transform: transform.postRotate(0.7, openvdb.Axis.Y),
        "sheared": lambda transform: transform.postShear(0.3, openvdb.Axis.X, openvdb.Axis.Z),
    }.items():
        grid = openvdb.FloatGrid()
        grid.getAccessor().setValueOn((-1, 0, 1), 3.0)
        change(grid.transform)
        yield _named(grid, name)
    matrix = [[0.5, 0.1, 0, 0], [0, 0.5, 0, 0], [0, 0.2, 0.25, 0], [1.0, 2.0, 3.0, 1]]
    affine = openvdb.FloatGrid()
    affine.transform = openvdb.createLinearTransform(matrix)
    affine.metadata = {"text": "größe", "flag": True, "count": -3, "ratio": 0.1, "direction": (1.0, 0.1, 0.0)}
    yield _named(affine, "affine")
    for name, corner in (("far", (2**20 - 3,) * 3), ("far below", (-(2**20) - 3,) * 3)):
        grid = openvdb.FloatGrid()
        grid.copyFromArray(np.arange(1, 126, dtype=np.float32).reshape(5, 5, 5), corner)
        yield _named(grid, name)


def _shared_and_unnamed_grids(openvdb):
    first = openvdb.FloatGrid()
    first.fill((0, 0, 0), (3, 20, 5), 1.5, True)
    second = first.copy()
    second.transform = openvdb.createLinearTransform(0.5)
    yield from (_named(first, "parent"), _named(second, "instance"))
    for value in (1.0, 2.0):
        twin = openvdb.FloatGrid()
        twin.getAccessor().setValueOn((1, 2, 3), value)
        yield _named(twin, "twin")
    unnamed = openvdb.FloatGrid()
    unnamed.getAccessor().setValueOn((7, 7, 7), 9.0)
    yield _named(unnamed, "")


def _refused_grids(openvdb):
    frustum = openvdb.FloatGrid()
    frustum.transform = openvdb.createFrustumTransform((0, 0, 0), (9, 9, 9), 0.5, 1.0)
    large = openvdb.FloatGrid()
    large.fill((0, 0, 0), (4095, 4095, 4095), 1.0, True)
    yield from (_named(frustum, "frustum"), _named(large, "too large"))
    yield _named(openvdb.PointDataGrid(), "points")


def _box_of(grid) -> tuple[np.ndarray, np.ndarray, tuple[int, int, int]]:
    """Return values, active mask and corner of the box around a grid's active voxels."""
    if not grid.activeVoxelCount():
        return np.zeros((0, 0, 0)), np.zeros((0, 0, 0), bool), (0, 0, 0)
    low, high = grid.evalActiveVoxelBoundingBox()
    shape = tuple(b - a + 1 for a, b in zip(low, high, strict=True))
    vector = grid.valueTypeName.startswith("vec3")
    number = {"bool": bool, "int32": np.int32, "int64": np.int64, "double": np.float64, "vec3d": np.float64}
    number = {**number, "vec3i": np.int32}.get(grid.valueTypeName, np.float32)
    values = np.zeros((*shape, 3) if vector else shape, number)
    grid.copyToArray(values, low)
    flags = grid.deepCopy()
    off, on = ((0, 0, 0), (1, 1, 1)) if vector else (grid.zeroValue, grid.oneValue)
    flags.mapOff(lambda _: off)
    flags.mapOn(lambda _: on)
    active = np.zeros_like(values)
    flags.copyToArray(active, low)
    return values, (active[..., 0] if vector else active) != 0, low


def _original_name(record: dict) -> str:
    """Return the name that a grid had before it was told apart from others."""
    return record["metadata"].get("name", record["name"])


def _assert_same_box(grid, values: np.ndarray, active: np.ndarray, corner) -> None:
    expected_values, expected_active, low = _box_of(grid)
    assert list(low) == list(corner), (grid.name, low, corner)
    assert grid.activeVoxelCount() == np.count_nonzero(active), grid.name
    assert np.array_equal(expected_active, active), grid.name
    if values.size:
        assert expected_values.dtype == values.dtype, grid.name
    assert expected_values.tobytes() == values.tobytes(), grid.name


def _matrix(transform) -> np.ndarray:
    """Return a transform as (4, 4) with column vectors."""
    origin = np.array(transform.indexToWorld((0, 0, 0)))
    columns = [np.array(transform.indexToWorld(tuple(unit))) - origin for unit in np.eye(3)]
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = np.array(columns).T, origin
    return matrix


def _assert_same_settings(record: dict, grid) -> None:
    assert _original_name(record) == grid.name
    background = grid.background if isinstance(grid.background, tuple | list) else [grid.background]
    assert list(record["background"]) == list(background), grid.name
    # A column of the matrix is a difference of two places, so rounding of both is in it.
    assert np.allclose(record["to_object"], _matrix(grid.transform), rtol=1e-14, atol=1e-13), grid.name
    assert record["kind"] == grid.gridClass, grid.name
    assert record["half"] == grid.saveFloatAsHalf, grid.name
    kept = {key: value for key, value in grid.metadata.items() if key not in COMPUTED}
    for key in ("class", "name", "is_saved_as_half_float"):
        kept.pop(key, None)
    record["metadata"].pop("name", None)
    plain = {key: list(value) if isinstance(value, tuple) else value for key, value in kept.items()}
    assert record["metadata"] == plain, grid.name


def _assert_same_grid(original, grid) -> None:
    _assert_same_box(grid, *_box_of(original))
    for key in ("name", "background", "gridClass", "saveFloatAsHalf", "valueTypeName"):
        assert getattr(original, key) == getattr(grid, key), (original.name, key)
    assert np.allclose(_matrix(original.transform), _matrix(grid.transform), rtol=1e-14, atol=1e-13)
    kept = {key: value for key, value in original.metadata.items() if key not in COMPUTED}
    assert kept.items() <= grid.metadata.items(), original.name
    for key in ("file_bbox_min", "file_bbox_max", "file_voxel_count"):
        if key in original.metadata and original.activeVoxelCount():
            assert original.metadata[key] == grid.metadata[key], (original.name, key)
