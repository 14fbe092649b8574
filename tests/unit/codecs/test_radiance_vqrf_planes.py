"""The published method for fields of planes and lines, and its bytes."""

import dataclasses
import math
import zlib

import msgspec
import numpy as np
import pytest
import torch

from scene_codec.codecs.radiance_vqrf.config import settings_for
from scene_codec.codecs.radiance_vqrf.paper_method import compress_as_published, finetuning_plan
from scene_codec.codecs.radiance_vqrf.paper_plane_method import (
    look_at_planes,
    quantised_planes,
    stored_planes,
    tuned_planes,
)
from scene_codec.codecs.radiance_vqrf.paper_plane_syntax import read_planes, write_planes
from scene_codec.codecs.radiance_vqrf.paper_planes import (
    as_table,
    channel_bytes,
    model_of_planes,
    plane_names,
)
from scene_codec.codecs.radiance_vqrf.paper_syntax import DENSITY, KEPT, MASKS, NETWORK
from scene_codec.codecs.radiance_vqrf.supervision import ShownRays
from scene_codec.errors import CorruptFileError, UnsupportedSceneError
from scene_codec.progress import Progress
from scene_codec.radiance.field_space import to_field_space
from scene_codec.radiance.ray_supply import CameraSet, camera_around
from scene_codec.radiance.scene_domain import SceneDomain
from scene_codec.voxel_fields.factored_model import FactoredModel, Factors, OverlapMask
from scene_codec.voxel_fields.node_lattice import NodeLattice
from scene_codec.voxel_fields.shading import NetworkShader
from scene_codec.voxel_fields.voxel_field import VoxelField
from scene_codec.voxel_fields.voxel_model import DensityRule, Limits
from scene_codec.voxel_fields.voxel_rendering import trace

X, Y, Z = 10, 9, 8
DOMAIN = SceneDomain(near=1.0, far=7.0, white_background=True, low=(-1.0,) * 3, high=(1.0,) * 3)
SETTINGS = msgspec.structs.replace(
    settings_for("paper"),
    codes=8,
    codebook_steps=20,
    expired_codes=1,
    steps=0,
    rays=128,
    keep=0.5,
    prune=0.99,
)


def blob(planes=True):
    """Return a coloured blob: products of bells, in colours that change along lines."""
    generator = torch.Generator().manual_seed(4)
    bells = [torch.exp(-4.0 * torch.linspace(-1.0, 1.0, count).square()) for count in (X, Y, Z)]
    x, y, z = bells

    def waves(components, count):
        return torch.sin(torch.rand((components, count), generator=generator) * 2.0 + 0.5)

    pairs = ((y[:, None] * x, z), (z[:, None] * x, y), (z[:, None] * y, x))
    density = Factors(
        tuple(torch.stack([10.0 * plane, 0.1 * plane]) for plane, _ in pairs),
        tuple(torch.stack([line, line]) for _, line in pairs),
    )
    appearance = Factors(
        tuple(waves(3, plane.numel()).view(3, *plane.shape) for plane, _ in pairs),
        tuple(waves(3, len(line)) for _, line in pairs),
    )
    if not planes:
        density, appearance = (Factors((), own.lines) for own in (density, appearance))
    inputs = NetworkShader.first_inputs(5, 1, None, residual=False)
    layers = ((torch.randn((3, inputs), generator=generator), torch.zeros(3)),)
    lattice = NodeLattice((4, 4, 4), (-1.0,) * 3, (1.0,) * 3)
    return FactoredModel(
        low=(-1.0,) * 3,
        high=(1.0,) * 3,
        density_factors=density,
        appearance=appearance,
        basis=torch.randn((5, 9 if planes else 3), generator=generator),
        shader=NetworkShader(layers, 5, view_octaves=1),
        rule=DensityRule(softplus=True, shift=-8.0, scale=5.0),
        step=0.12,
        near=1.0,
        far=7.0,
        limits=Limits(weight=1e-3),
        mask=OverlapMask(lattice, torch.ones(64, dtype=torch.bool)),
    )


def supply_of(model, cameras=3, side=12):
    shown = [camera_around(DOMAIN, 1.7 * index, 0.3, side) for index in range(cameras)]
    return ShownRays(VoxelField(model, DOMAIN), CameraSet(shown))


def error_between(model, other, supply):
    pixel = torch.arange(supply.cameras.pixels)
    seen = [VoxelField(own, DOMAIN).render(supply.cameras.rays(pixel)).colour for own in (model, other)]
    return float((seen[0] - seen[1]).square().mean())


def test_importance_of_texels_is_the_sum_of_weight_times_part():
    model = blob()
    supply = supply_of(model, cameras=2, side=5)
    found = look_at_planes(model, DOMAIN, supply.cameras, Progress())
    rays = to_field_space(supply.cameras.rays(torch.arange(supply.cameras.pixels)), DOMAIN)
    seen = trace(model, rays, DOMAIN)
    places = seen.probe.places[seen.place[seen.coloured]]
    weights = seen.weights[seen.coloured]
    counts = (X, Y, Z)
    assert len(weights) > 20
    for importance, (across, down) in zip(found.importance, ((0, 1), (0, 2), (1, 2)), strict=True):
        wanted = np.zeros((counts[down], counts[across]))
        for place, weight in zip(places.tolist(), weights.tolist(), strict=True):
            column, row = ((place[axis] + 1.0) / 2.0 * (counts[axis] - 1) for axis in (across, down))
            for i in range(counts[down]):
                for j in range(counts[across]):
                    wanted[i, j] += weight * max(0.0, 1 - abs(row - i)) * max(0.0, 1 - abs(column - j))
        np.testing.assert_allclose(importance.numpy(), wanted.reshape(-1), rtol=1e-4, atol=1e-5)


def test_channels_are_rounded_each_by_itself():
    values = torch.randn((500, 2), generator=torch.Generator().manual_seed(0)) * torch.tensor([0.1, 8.0])
    stored = channel_bytes(values)
    np.testing.assert_allclose(stored.scales, values.std(dim=0).numpy() / 15.0, rtol=1e-5)
    np.testing.assert_allclose(stored.zeros, values.mean(dim=0).numpy(), rtol=1e-3, atol=1e-6)
    assert ((stored.values() - values).abs().amax(dim=0) <= 0.51 * torch.from_numpy(stored.scales)).all()


@pytest.mark.parametrize("values", [[], [[5.0, 0.0]], [[2.0, -3.0]] * 4])
def test_channels_without_a_deviation(values):
    tensor = torch.tensor(values).reshape(-1, 2)
    np.testing.assert_allclose(channel_bytes(tensor).values().numpy(), tensor.numpy(), rtol=1e-2)


def test_bytes_come_back_as_the_same_field():
    model = blob()
    stored = compress_as_published(model, DOMAIN, supply_of(model), SETTINGS, Progress())
    sections = write_planes(stored)
    again = read_planes(sections, model, SETTINGS.codes)
    assert write_planes(again) == sections
    one, other = (model_of_planes(own, model).parameters() for own in (stored, again))
    for name, values in one.items():
        assert torch.equal(values, other[name]), name


def test_fine_tuning_lowers_the_error_and_keeps_texels_left_out_and_shared():
    model = blob()
    supply = supply_of(model)
    settings = msgspec.structs.replace(SETTINGS, codes=2, steps=25)
    seen = look_at_planes(model, DOMAIN, supply.cameras, Progress())
    coded = quantised_planes(model, seen, settings, Progress())
    plan = finetuning_plan(seen.pixels, settings)
    tuned = tuned_planes(coded, (supply, DOMAIN), plan, Progress())
    before, after = (error_between(model, own.model, supply) for own in (coded, tuned))
    assert after < 0.8 * before
    for prefix in ("density", "appearance"):
        for name, split in zip(plane_names(prefix), tuned.splits, strict=True):
            table = as_table(tuned.model.parameters()[name])
            assert not table[~split.held].any()
            tied = tuned.tied[name]
            assert torch.equal(table[tied.rows], tuned.codebooks[name][tied.codes])
    final = model_of_planes(stored_planes(tuned), model)
    assert error_between(tuned.model, final, supply) < 0.1 * before + 1e-5


def test_lines_alone_are_refused_with_the_reason():
    model = blob(planes=False)
    with pytest.raises(UnsupportedSceneError, match="lines alone"):
        compress_as_published(model, DOMAIN, supply_of(model), SETTINGS, Progress())


@pytest.fixture(scope="module")
def written():
    model = blob()
    return write_planes(compress_as_published(model, DOMAIN, supply_of(model), SETTINGS, Progress())), model


def test_every_prefix_and_longer_content_is_refused(written):
    sections, frame = written
    for kind, data in sections.items():
        content = zlib.decompress(data)
        damaged = [data[:cut] for cut in range(0, len(data), max(1, len(data) // 30))]
        damaged += [data + b"\0", zlib.compress(content[:-1]), zlib.compress(content + b"\0")]
        for bytes_ in damaged:
            with pytest.raises(CorruptFileError):
                read_planes(sections | {kind: bytes_}, frame, SETTINGS.codes)
        with pytest.raises(CorruptFileError):
            read_planes({own: data for own, data in sections.items() if own != kind}, frame, SETTINGS.codes)


def test_impossible_content_is_refused(written):
    sections, frame = written
    masks = zlib.decompress(sections[MASKS])
    size = -(-X * Y // 8)
    kept = masks[: 8 + size] + bytes([255] * (size - 1) + [0]) + masks[8 + 2 * size :]
    impossible = {MASKS: [kept]}
    for kind in (DENSITY, KEPT):
        content = zlib.decompress(sections[kind])
        scales = (0.0, -1.0, math.inf, math.nan, 3e38)
        impossible[kind] = [np.float32(scale).tobytes() + content[4:] for scale in scales]
    impossible[NETWORK] = [np.float16(math.nan).tobytes() + zlib.decompress(sections[NETWORK])[2:]]
    for kind, contents in impossible.items():
        for content in contents:
            with pytest.raises(CorruptFileError):
                read_planes(sections | {kind: zlib.compress(content)}, frame, SETTINGS.codes)
    for codes in (0, 1, 7, 9, 16, 1 << 17):
        with pytest.raises(CorruptFileError):
            read_planes(sections, frame, codes)
    large = dataclasses.replace(
        frame.mask, lattice=dataclasses.replace(frame.mask.lattice, shape=(2048,) * 3)
    )
    with pytest.raises(CorruptFileError):
        read_planes(sections, dataclasses.replace(frame, mask=large), SETTINGS.codes)
