"""One volume through the block VAE: encoded into a real file, decoded from it, compared with the original."""

from __future__ import annotations

import math
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from scene_codec.bitstream import ObjectRecord, SceneContent, open_scene_file, write_scene_file
from scene_codec.codecs.volume_vae.config import CODEC_NAME, VolumeVaeSettings
from scene_codec.codecs.volume_vae.decoder import decode_volume, model_of
from scene_codec.codecs.volume_vae.encoder import encode_volume, model_sections
from scene_codec.codecs.volume_vae.model import BlockModel
from scene_codec.codecs.volume_vae.syntax import PAYLOAD_VERSION
from scene_codec.progress import Progress
from scene_codec.volumes.volume import VolumeGrid, VolumeObject
from scene_codec.volumes.volume_files import load_volume


@dataclass(frozen=True)
class Variant:
    """A model and the settings with which it codes."""

    label: str
    model: BlockModel
    settings: VolumeVaeSettings


def measured_grid(path: Path) -> VolumeGrid:
    """Return the grid of a file that is measured: the density, or the first one that has single values."""
    grids = [grid for grid in load_volume(path).grids if grid.channels == 1 and grid.values.size]
    return next((grid for grid in grids if grid.name.startswith("density")), grids[0])


def measure_variant(grid: VolumeGrid, variant: Variant) -> dict[str, Any]:
    """Return errors, bytes and seconds of one grid.

    PSNR is over all voxels of the grid's box, against the range of the original. Bits a voxel are those of
    the file without the model; `file_bytes` counts everything.
    """
    volume = VolumeObject("volume", (grid,))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "volume.nscene"
        started = time.perf_counter()
        shared = model_sections(variant.model)
        sections = encode_volume(volume, variant.settings, variant.model, Progress())
        record = ObjectRecord(volume.name, sections)
        write_scene_file(path, SceneContent(CODEC_NAME, PAYLOAD_VERSION, shared, (record,)))
        encoded = time.perf_counter()
        with open_scene_file(path) as file:
            stored = {entry.kind: file.read_shared(entry.kind) for entry in file.shared}
            own = {
                entry.kind: file.read_object(volume.name, entry.kind) for entry in file.objects[0].sections
            }
            file_bytes = file.file_bytes
        model = model_of(stored, torch.device("cpu"))
        opened = time.perf_counter()
        decoded = decode_volume(own, model, Progress()).grids[0]
        finished = time.perf_counter()
    model_bytes = sum(len(section.payload) for section in shared)
    return {
        **errors(grid, decoded),
        "file_bytes": file_bytes,
        "bits_per_voxel": 8 * (file_bytes - model_bytes) / grid.values.size,
        "encode_seconds": encoded - started,
        "decode_seconds": finished - opened,
    }


def errors(original: VolumeGrid, decoded: VolumeGrid) -> dict[str, float]:
    """Return MSE, PSNR and largest error, in units of the original's range."""
    before, after = (np.asarray(grid.values).astype(np.float64) for grid in (original, decoded))
    extent = float(np.ptp(before)) or 1.0
    difference = (after - before) / extent
    mean = float(np.mean(difference**2))
    measured = {"mse": mean, "psnr": _psnr(mean), "max_error": float(np.abs(difference).max())}
    if original.active is not None and original.active.any():
        measured["active_psnr"] = _psnr(float(np.mean(difference[original.active] ** 2)))
    return measured


def _psnr(mean: float) -> float:
    return -10.0 * math.log10(max(mean, 1e-20))
