"""One volume through a codec: encoded into a real file, decoded from it, compared with the original."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import scene_codec
from scene_codec.volumes.volume import VolumeGrid, VolumeObject
from scene_codec.volumes.volume_files import load_volume


@dataclass(frozen=True)
class Variant:
    """A codec with the settings with which it codes."""

    label: str
    codec: str
    preset: str
    settings: Mapping[str, Any] = field(default_factory=dict)


def measured_grid(path: Path) -> VolumeGrid:
    """Return the grid of a file that is measured: the density, or the first one that has single values."""
    grids = [grid for grid in load_volume(path).grids if grid.channels == 1 and grid.values.size]
    return next((grid for grid in grids if grid.name.startswith("density")), grids[0])


def measure_variant(grid: VolumeGrid, variant: Variant) -> dict[str, Any]:
    """Return errors, bytes and seconds of one grid.

    PSNR is over all voxels of the grid's box, against the range of the original. Bits a voxel are those of
    the file without the model; `file_bytes` counts everything. Encoding and decoding begin and end with files
    and arrays, so that models are read, and quality is measured, within that time.
    """
    volume = VolumeObject("volume", (grid,))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "volume.nscene"
        watch = _Watch()
        report = scene_codec.encode(
            volume,
            path,
            codec=variant.codec,
            preset=variant.preset,
            settings=variant.settings,
            device="cpu",
        )
        encoded = watch.seconds("encode")
        watch = _Watch()
        (decoded,) = scene_codec.decode(path, device="cpu")
        seconds = encoded | watch.seconds("decode")
        shared = sum(section.bytes for section in scene_codec.inspect(path).shared)
    assert isinstance(decoded, VolumeObject)
    return {
        **errors(grid, decoded.grids[0]),
        "file_bytes": report.file_bytes,
        "bits_per_voxel": 8 * (report.file_bytes - shared) / grid.values.size,
        **seconds,
    }


class _Watch:
    """Counts seconds from its making on; CPU seconds are those of this process, all threads together."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def seconds(self, name: str) -> dict[str, float]:
        """Return the fields of a step."""
        return {
            f"{name}_seconds": time.perf_counter() - self._wall,
            f"{name}_cpu_seconds": time.process_time() - self._cpu,
        }


def errors(original: VolumeGrid, decoded: VolumeGrid) -> dict[str, float]:
    """Return MSE, PSNR and largest error, in units of the original's range; of active voxels apart."""
    layers = range(original.shape[0])
    low, high = float(np.min(original.values)), float(np.max(original.values))
    extent = (high - low) or 1.0
    squares = active_squares = largest = 0.0
    for layer in layers:  # layer by layer: whole float64 copies of large volumes do not fit into memory
        before, after = (np.asarray(grid.values[layer], np.float64) for grid in (original, decoded))
        difference = (after - before) / extent
        squares += float(np.square(difference).sum())
        largest = max(largest, float(np.abs(difference).max()))
        if original.active is not None:
            active_squares += float(np.square(difference[original.active[layer]]).sum())
    mean = squares / original.values.size
    measured = {"mse": mean, "psnr": _psnr(mean), "max_error": largest}
    if original.active is not None and original.active.any():
        measured["active_psnr"] = _psnr(active_squares / int(original.active.sum()))
    return measured


def _psnr(mean: float) -> float:
    return -10.0 * math.log10(max(mean, 1e-20))
