"""One measurement of radiance networks each: the paper's protocol, ours, and plain rounding."""

from __future__ import annotations

import lzma
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from measurement.nerf_scenes import Scene, load_pair, measure, published_domain, test_views
from scene_codec.bitstream import ObjectRecord, SceneContent, serialise
from scene_codec.codecs.nerf_pruned.config import NerfPrunedSettings
from scene_codec.codecs.nerf_pruned.decoder import field_of
from scene_codec.codecs.nerf_pruned.encoder import encode_field
from scene_codec.codecs.nerf_pruned.integer_networks import plain_integer_layers
from scene_codec.codecs.nerf_pruned.paper_method import (
    RetrainingPlan,
    copies,
    prune_by_magnitude,
    retrain,
    stage_rate,
    start_rate,
)
from scene_codec.codecs.nerf_pruned.scene_setup import set_up_scene
from scene_codec.codecs.nerf_pruned.syntax import CodedField, write_field
from scene_codec.codecs.radiance_parts.weight_coding import encode_layers
from scene_codec.entropy.bit_grid import encode_bit_grid
from scene_codec.entropy.packing import pack_integers
from scene_codec.networks.radiance_folding import folded
from scene_codec.networks.radiance_mlp import RadianceMlp
from scene_codec.progress import Progress
from scene_codec.radiance.checkpoints import NerfPair
from scene_codec.radiance.exact_rendering import SamplingPlan, render_exactly
from scene_codec.radiance.field import RadianceField
from scene_codec.radiance.field_space import to_field_space
from scene_codec.radiance.nerf_field import NerfPairField, OccupiedNerfField
from scene_codec.radiance.posed_images import PosedImage, load_posed_images
from scene_codec.radiance.ray_supply import PictureRays

CPU = torch.device("cpu")
WITHOUT = "without"
"""In place of the pictures' folder: the network learns from the large one alone."""

_LOSS_RAYS = 1024


def file_bytes(field: CodedField, name: str) -> int:
    """Return the size of the whole file of one field."""
    record = ObjectRecord(name, write_field(field))
    return len(serialise(SceneContent("nerf-pruned", 1, (), (record,))))


def unpruned(scene: Scene, data: Path) -> dict[str, Any]:
    """Return the row of the networks as they are, rendered as published."""
    pair = load_pair(scene, data)
    field = NerfPairField(pair.coarse, pair.fine, published_domain(scene, data))
    row = measure(field, test_views(scene, data)).row()
    return {"label": f"{scene.name}: unpruned", "file_bytes": pair.parameter_bytes, **row}


def alone(scene: Scene, data: Path, settings: NerfPrunedSettings) -> dict[str, Any]:
    """Return the row of one network as it is, rendered where the cells of these settings say."""
    pair = load_pair(scene, data)
    teacher = folded(pair.fine)
    chosen = msgspec.structs.replace(settings, images=str(data / scene.pictures))
    found = set_up_scene(teacher, pair, chosen, Progress())
    row = measure(OccupiedNerfField(teacher, found.grid, found.domain), test_views(scene, data)).row()
    return {"label": f"{scene.name}: as it is", "file_bytes": pair.parameter_bytes, **row}


def published(
    scene: Scene, data: Path, share: float, policy: str, steps: int, rays: int
) -> list[dict[str, Any]]:
    """Return the rows of the paper's protocol: pruned once, and retrained.

    policy : "stage" or "restart", see `paper_method`
    """
    pair = load_pair(scene, data)
    domain = published_domain(scene, data)
    views = test_views(scene, data)
    coarse, fine = copies(pair, CPU)
    assert coarse is not None
    masks = prune_by_magnitude([fine, coarse], share)
    field = NerfPairField(coarse, fine, domain)
    pictures = PictureRays(load_posed_images(data / scene.pictures, "train"), domain)
    size = _bytes_of_pair((fine, coarse))
    label = f"{scene.name}: paper, {share:.0%}"
    plain = {"label": f"{label} pruned", "file_bytes": size, "pruned": share}
    rows = [plain | measure(field, views).row() | {"batch_loss": _loss(field, pictures)}]
    rate = stage_rate(pair) if policy == "stage" else start_rate(pair)
    plan = RetrainingPlan(rate=rate, steps=steps, rays=rays)
    retrain((coarse, fine), masks, pictures.draw, domain, plan, Progress())
    again = {
        "label": f"{label} retrained, rate of {'that stage' if policy == 'stage' else 'the start'}",
        "file_bytes": _bytes_of_pair((fine, coarse)),
        "pruned": share,
    }
    rows.append(again | measure(field, views).row() | {"batch_loss": _loss(field, pictures)})
    return rows


def ours(
    scene: Scene, data: Path, label: str, settings: NerfPrunedSettings
) -> tuple[dict[str, Any], CodedField]:
    """Return the row of our codec, and what it made."""
    images = "" if settings.images == WITHOUT else str(data / scene.pictures)
    chosen = msgspec.structs.replace(settings, images=images)
    pair = load_pair(scene, data)
    started, cpu = time.monotonic(), time.process_time()
    coded = encode_field(pair, chosen, CPU, Progress())
    encoding = {"encode_seconds": time.monotonic() - started, "encode_cpu_seconds": time.process_time() - cpu}
    size = file_bytes(coded, scene.name)
    row = {
        "label": f"{scene.name}: {label}",
        "pruned": coded.header.zeros / 1000,
        "file_bytes": size,
        "ratio_to_float32": pair.parameter_bytes / size,
        **encoding,
    }
    return row | measure(field_of(coded, CPU), test_views(scene, data)).row(), coded


def rivals(scene: Scene, data: Path, levels: Sequence[int], after: RadianceField) -> list[dict[str, Any]]:
    """Return rows of networks rounded without training, for each number of bits and two coders.

    after : our field, whose cells replace the coarse network in some of the rows
    """
    pair = load_pair(scene, data)
    domain = published_domain(scene, data)
    views = test_views(scene, data)
    rows = []
    for bits in levels:
        coarse, fine = copies(pair, CPU)
        assert coarse is not None
        rows.append(_rounded_in_cells(scene, pair, bits, after, views))
        integers = [_rounded(network, bits) for network in (fine, coarse)]
        shown = measure(NerfPairField(coarse, fine, domain), views).row()
        flat = [array for arrays in integers for array in arrays]
        biases = 4 * sum(
            layer.out_features for network in (fine, coarse) for layer in network.linear_layers().values()
        )
        wide = np.int8 if bits <= 8 else np.int16
        packed = lzma.compress(b"".join(array.astype(wide).tobytes() for array in flat), preset=9)
        for coder, size in (("range coding", len(pack_integers(flat))), ("lzma", len(packed))):
            rows.append(
                {
                    "label": f"{scene.name}: both networks, {bits} bits, {coder}",
                    "file_bytes": size + biases,
                    "ratio_to_float32": pair.parameter_bytes / (size + biases),
                    **shown,
                }
            )
    return rows


def _rounded_in_cells(
    scene: Scene, pair: NerfPair, bits: int, after: RadianceField, views: Sequence[PosedImage]
) -> dict[str, Any]:
    """Return the row of the folded fine network alone, rounded, with the cells of our file."""
    assert isinstance(after, OccupiedNerfField)
    fine = folded(pair.fine)
    integers = _rounded(fine, bits)
    size = len(pack_integers(integers)) + len(encode_bit_grid(after.grid.occupied.numpy()))
    size += 4 * sum(layer.out_features for layer in fine.linear_layers().values())
    shown = measure(OccupiedNerfField(fine, after.grid, after.domain), views)
    return {
        "label": f"{scene.name}: fine network in our cells, {bits} bits, range coding",
        "file_bytes": size,
        "ratio_to_float32": pair.parameter_bytes / size,
        **shown.row(),
    }


def _rounded(network: RadianceMlp, bits: int) -> list[NDArray[np.int32]]:
    """Round the weights of a network in place, a symmetric step for each tensor; return them in steps."""
    integers = []
    for layer in network.linear_layers().values():
        step = float(layer.weight.abs().max()) / (2 ** (bits - 1) - 1)
        steps = (layer.weight / step).round()
        layer.weight.copy_(steps * step)
        integers.append(steps.to(torch.int32).numpy())
    return integers


def _bytes_of_pair(networks: tuple[RadianceMlp, RadianceMlp]) -> int:
    """Return the bytes of two pruned networks: entropy coded mask and weights of 16 bits."""
    layers = [plain_integer_layers(list(network.linear_layers().values())) for network in networks]
    return sum(len(encode_layers(own)) for own in layers)


def _loss(field: NerfPairField, pictures: PictureRays) -> float:
    """Return what the published code logs as MSE: of both networks, on one random batch."""
    rays, colours = pictures.draw(_LOSS_RAYS, torch.Generator().manual_seed(5))
    with torch.inference_mode():
        inside = to_field_space(rays, field.domain)
        seen = render_exactly((field.coarse, field.fine), inside, field.domain, SamplingPlan())
    white = field.domain.white_background
    return sum(float((pixels.over(white) - colours).square().mean()) for pixels in (seen.coarse, seen.fine))


def speed(scene: Scene, data: Path, after: RadianceField) -> list[dict[str, Any]]:
    """Return rows of one large test view rendered as published, and from our file."""
    pair = load_pair(scene, data)
    views = load_posed_images(data / scene.large_pictures, "test").images
    view = views[len(views) // 2]
    before = NerfPairField(pair.coarse, pair.fine, published_domain(scene, data))
    size = f"{view.camera.width} x {view.camera.height}"
    rows = [
        {"label": f"{scene.name}, {size}: {label}", **measure(field, [view]).row()}
        for label, field in (
            ("as published", before),
            ("the same fine network in occupied cells", _accelerated(pair, after)),
            ("our file, 50% pruned", after),
        )
    ]
    for row in rows[1:]:
        row["times_fewer_cpu_seconds"] = rows[0]["cpu_seconds"] / row["cpu_seconds"]
    return rows


def _accelerated(pair: NerfPair, after: RadianceField) -> OccupiedNerfField:
    """Return the unpruned fine network with the cells of a file."""
    assert isinstance(after, OccupiedNerfField)
    return OccupiedNerfField(folded(pair.fine), after.grid, after.domain)
