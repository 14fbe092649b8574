"""The stages of the published method for voxel fields, each with its size and what it shows of test views."""

from __future__ import annotations

import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from measurement.nerf_scenes import measure
from scene_codec.bitstream import ObjectRecord, SceneContent, serialise
from scene_codec.codecs.radiance_vqrf.config import CODEC_NAME, RadianceVqrfSettings
from scene_codec.codecs.radiance_vqrf.decoder import decode_field
from scene_codec.codecs.radiance_vqrf.encoder import encode_scene
from scene_codec.codecs.radiance_vqrf.paper_grid import PaperFrame, PaperGrid, model_of
from scene_codec.codecs.radiance_vqrf.paper_importance import ScenePass, look_at_all_rays
from scene_codec.codecs.radiance_vqrf.paper_method import (
    CodedGrid,
    fine_tuned,
    finetuning_plan,
    learned_codebook,
    pruned,
    rounded,
    vector_quantised,
)
from scene_codec.codecs.radiance_vqrf.paper_syntax import pack_indices, read_paper, write_paper
from scene_codec.codecs.radiance_vqrf.scene_setup import SceneSetup, scene_domain
from scene_codec.codecs.radiance_vqrf.supervision import Supervision
from scene_codec.codecs.radiance_vqrf.syntax import PAYLOAD_VERSION
from scene_codec.progress import Progress
from scene_codec.radiance.posed_images import PosedImage, load_posed_images
from scene_codec.radiance.ray_supply import PictureRays
from scene_codec.radiance.scene_domain import SceneDomain
from scene_codec.voxel_fields.field_files import load_voxel_field
from scene_codec.voxel_fields.grid_model import GridModel
from scene_codec.voxel_fields.voxel_checkpoint import VoxelCheckpoint, parameter_bytes
from scene_codec.voxel_fields.voxel_field import VoxelField

VIEWS = 5
"""Test views of each scene that are compared, evenly spaced."""


@dataclass(frozen=True)
class VoxelScene:
    """A trained field and its pictures.

    size : width of all pictures, None as they are
    """

    name: str
    field: Path
    pictures: Path
    size: int | None

    def lattice(self) -> tuple[int, int, int]:
        """Return the nodes along each axis."""
        model = load_voxel_field(self.field).model
        assert isinstance(model, GridModel)
        return model.index.lattice.shape

    def test_views(self) -> Sequence[PosedImage]:
        """Return the views that are compared."""
        views = load_posed_images(self.pictures, "test", size=self._size("test")).images
        return views[:: max(1, len(views) // VIEWS)][:VIEWS]

    def set_up(self, settings: RadianceVqrfSettings) -> tuple[VoxelCheckpoint, SceneSetup]:
        """Return the field, and its scene with smaller pictures than the settings' own."""
        checkpoint = load_voxel_field(self.field)
        images = load_posed_images(self.pictures, "train", size=self._size("train"))
        domain = scene_domain(checkpoint.domain, images, settings)
        pictures = PictureRays(images, domain)
        return checkpoint, SceneSetup(domain, pictures, pictures.cameras)

    def _size(self, split: Literal["train", "test"]) -> tuple[int, int] | None:
        if self.size is None:
            return None
        camera = load_posed_images(self.pictures, split).images[0].camera
        return self.size, round(self.size * camera.height / camera.width)


def stage_rows(scene: VoxelScene, label: str, settings: RadianceVqrfSettings) -> list[dict[str, Any]]:
    """Return the rows of the stages of the published method."""
    checkpoint, setup = scene.set_up(settings)
    assert isinstance(checkpoint.model, GridModel)
    assert setup.pictures is not None
    rows = stages(checkpoint.model, setup.domain, setup.pictures, scene.test_views(), settings)
    return [row | {"label": f"{scene.name}: {row['label']}"} for row in rows]


def plain_row(scene: VoxelScene, label: str, settings: RadianceVqrfSettings) -> list[dict[str, Any]]:
    """Return the row of a field that is not coded."""
    checkpoint, setup = scene.set_up(settings)
    field = VoxelField(checkpoint.model, setup.domain)
    row = {
        "label": f"{scene.name}: {label}",
        "file_bytes": checkpoint.parameter_bytes,
        "ratio_to_float32": 1.0,
    }
    return [row | measure(field, scene.test_views()).row()]


def coded_row(scene: VoxelScene, label: str, settings: RadianceVqrfSettings) -> list[dict[str, Any]]:
    """Return the row of a file with one setting."""
    checkpoint, setup = scene.set_up(settings)
    started, cpu = time.monotonic(), time.process_time()
    sections = encode_scene(checkpoint, setup, settings, CPU, Progress())
    encoding = {"encode_seconds": time.monotonic() - started, "encode_cpu_seconds": time.process_time() - cpu}
    size = len(
        serialise(SceneContent(CODEC_NAME, PAYLOAD_VERSION, (), (ObjectRecord(scene.name, sections),)))
    )
    field = decode_field({section.kind: section.payload for section in sections}, CPU)
    row = {
        "label": f"{scene.name}: {label}",
        "file_bytes": size,
        "ratio_to_float32": checkpoint.parameter_bytes / size,
    }
    return [row | encoding | measure(field, scene.test_views()).row()]


def stages(
    model: GridModel,
    domain: SceneDomain,
    pictures: Supervision,
    views: Sequence[PosedImage],
    settings: RadianceVqrfSettings,
    seen: ScenePass | None = None,
) -> list[dict[str, Any]]:
    """Return a row for each stage: the grid, pruned, with codes, fine-tuned, in eight bits.

    Sizes are those of deflated parts: masks, float32 values and network, indices in as few bits as they need;
    in the last row what the method stores. Densities and kept features are in eight bits from the codes on,
    as published, though their sizes count as float32 until the last row.

    seen : what `look_at_all_rays` returned for these pictures, which takes long
    """
    seen = seen or look_at_all_rays(model, domain, pictures.cameras, Progress())
    frame = PaperFrame.of(model)
    left = pruned(model, seen.importance, settings)
    coded = vector_quantised(left, learned_codebook(left, settings, Progress()))
    tuned = fine_tuned(coded, (pictures, domain), finetuning_plan(seen.pixels, settings), Progress())
    final = rounded(tuned)
    sections = write_paper(final)
    decoded = model_of(read_paper(sections, frame, settings.codes), frame).to(model.raw_density.device)
    values = [left.model.raw_density, left.model.features, *model.shader.parameters().values()]
    shown: list[tuple[str, GridModel, int]] = [
        ("as it is", model, parameter_bytes(model)),
        ("pruned", left.model, _deflated(np.packbits(final.held).tobytes()) + _float_bytes(values)),
        ("pruned, codes", coded.model, _coded_bytes(coded, left.model, rounded(coded))),
        ("pruned, codes, fine-tuned", tuned.model, _coded_bytes(tuned, tuned.model, final)),
        ("pruned, codes, fine-tuned, 8 bits", decoded, sum(map(len, sections.values()))),
    ]
    counts = {"nodes": len(left.kept), "kept_nodes": int(left.kept.sum())}
    return [
        {
            "label": label,
            "file_bytes": size,
            "ratio_to_float32": parameter_bytes(model) / size,
            **counts,
            **measure(VoxelField(own, domain), views).row(),
        }
        for label, own, size in shown
    ]


CPU = torch.device("cpu")


def _coded_bytes(grid: CodedGrid, model: GridModel, stored: PaperGrid) -> int:
    """Return the size of a grid with codes whose values are float32.

    model : with densities and kept features as they are before they are rounded
    """
    values = [
        model.raw_density,
        model.features[grid.kept],
        grid.codebook,
        *model.shader.parameters().values(),
    ]
    masks = np.packbits(stored.held).tobytes() + np.packbits(stored.kept).tobytes()
    indices = pack_indices(stored.codes, len(stored.codebook))
    return _deflated(masks) + _deflated(indices) + _float_bytes(values)


def _float_bytes(values: Sequence[Tensor]) -> int:
    return sum(_deflated(own.detach().cpu().to(torch.float32).numpy().tobytes()) for own in values)


def _deflated(content: bytes) -> int:
    return len(zlib.compress(content, 9))
