"""The published method for voxel fields: split, codebook, fine-tuning, eight bits, and its bytes."""

import dataclasses
import math
import zlib

import msgspec
import numpy as np
import pytest
import torch

from scene_codec.codecs.radiance_vqrf import paper_syntax
from scene_codec.codecs.radiance_vqrf.config import settings_for
from scene_codec.codecs.radiance_vqrf.paper_codebook import (
    Batch,
    CodebookPlan,
    codebook_step,
    learn_codebook,
    nearest_codes,
)
from scene_codec.codecs.radiance_vqrf.paper_finetuning import TiedRows
from scene_codec.codecs.radiance_vqrf.paper_grid import PaperFrame, model_of
from scene_codec.codecs.radiance_vqrf.paper_importance import (
    look_at_all_rays,
    split_by_importance,
)
from scene_codec.codecs.radiance_vqrf.paper_method import (
    CHECKPOINT,
    CODEBOOK_LEARNED,
    RAYS_SEEN,
    compress_as_published,
    fine_tuned,
    finetuning_plan,
    learned_codebook,
    pruned,
    rounded,
    vector_quantised,
)
from scene_codec.codecs.radiance_vqrf.paper_rounding import eight_bits
from scene_codec.codecs.radiance_vqrf.paper_syntax import (
    CODEBOOK,
    DENSITY,
    INDICES,
    KEPT,
    MASKS,
    NETWORK,
    pack_indices,
    read_paper,
    unpack_indices,
    write_paper,
)
from scene_codec.codecs.radiance_vqrf.supervision import ShownRays
from scene_codec.errors import Cancelled, CorruptFileError, UnsupportedSceneError
from scene_codec.progress import CancelToken, Progress
from scene_codec.radiance.field_space import to_field_space
from scene_codec.radiance.ray_supply import CameraSet, camera_around
from scene_codec.radiance.scene_domain import SceneDomain
from scene_codec.voxel_fields.grid_model import GridModel, GridStep
from scene_codec.voxel_fields.node_lattice import NodeIndex, NodeLattice
from scene_codec.voxel_fields.shading import HarmonicShader, NetworkShader
from scene_codec.voxel_fields.voxel_field import VoxelField
from scene_codec.voxel_fields.voxel_model import DensityRule, Limits
from scene_codec.voxel_fields.voxel_rendering import trace

SIDE = 9
DOMAIN = SceneDomain(near=1.0, far=7.0, white_background=True, low=(-1.0,) * 3, high=(1.0,) * 3)
SETTINGS = msgspec.structs.replace(
    settings_for("paper"), codes=16, codebook_steps=20, expired_codes=2, steps=0, rays=128, keep=0.3
)


def ball(kind="network"):
    """Return a coloured ball on a small grid: as DVGO has it, or as Plenoxels."""
    generator = torch.Generator().manual_seed(3)
    lattice = NodeLattice(
        (SIDE,) * 3, (-1.0,) * 3, (1.0,) * 3, centred=kind != "network", clamped=kind != "network"
    )
    places = lattice.positions(torch.arange(lattice.nodes))
    distance = places.norm(dim=1, keepdim=True)
    held = (distance < 0.95).squeeze(1) if kind != "network" else torch.ones(lattice.nodes, dtype=torch.bool)
    index = NodeIndex.of_mask(lattice, held)
    if kind == "network":
        layers = tuple(
            (torch.randn((out, own), generator=generator) * 0.5, torch.zeros(out))
            for own, out in ((4 + 3 + 6, 8), (8, 3))
        )
        shader = NetworkShader(layers, 4, view_octaves=1)
        rule, step = DensityRule(softplus=True, shift=-8.0, scale=4.0), GridStep(0.12)
        limits = Limits(alpha=1e-3, weight=1e-3, dark=1e-3)
        density = 60.0 * (0.7 - distance)
    else:
        shader, rule = HarmonicShader(), DensityRule(softplus=False)
        step, limits = GridStep(0.5, in_voxels=True), Limits(dark=1e-7)
        density = 30.0 * (0.8 - distance)
    features = torch.sin(places @ torch.randn((3, shader.features), generator=generator) * 3.0)
    return GridModel(index, density[held], features[held], shader, rule, step, limits)


def supply_of(model, cameras=4, side=14):
    shown = [camera_around(DOMAIN, 1.7 * index, 0.3, side) for index in range(cameras)]
    return ShownRays(VoxelField(model, DOMAIN), CameraSet(shown))


def compressed(model, settings=SETTINGS, **named):
    return compress_as_published(model, DOMAIN, supply_of(model), settings, Progress(), **named)


def quantised(model, seen, settings):
    left = pruned(model, seen.importance, settings)
    return vector_quantised(left, learned_codebook(left, settings, Progress()))


def error_between(model, other, supply):
    pixel = torch.arange(supply.cameras.pixels)
    seen = [VoxelField(own, DOMAIN).render(supply.cameras.rays(pixel)).colour for own in (model, other)]
    return float((seen[0] - seen[1]).square().mean())


def test_importance_is_the_sum_of_weight_times_part_over_all_pixels():
    model = ball()
    supply = supply_of(model, cameras=2, side=6)
    found = look_at_all_rays(model, DOMAIN, supply.cameras, Progress())
    wanted = np.zeros(len(model.raw_density))
    rays = to_field_space(supply.cameras.rays(torch.arange(supply.cameras.pixels)), DOMAIN)
    seen = trace(model, rays, DOMAIN)
    flat, parts = model.index.lattice.corners(seen.samples.positions(rays))
    for sample in seen.coloured.tolist():
        for corner in range(8):
            wanted[flat[sample, corner]] += float(seen.weights[sample] * parts[sample, corner])
    np.testing.assert_allclose(found.importance.numpy(), wanted, rtol=1e-4, atol=1e-6)
    assert 0 < len(found.pixels) <= supply.cameras.pixels


def test_split_follows_the_formula():
    importance = torch.tensor([4.0, 0.0, 1.0, 3.0, 2.0])
    # Ascending 0 1 2 3 4, sums 0 .1 .3 .6 1: above 1 - .75 first at 2, and above 1 - .45 first at 3.
    split = split_by_importance(importance, 0.75, 0.45)
    assert split.held.tolist() == [True, False, False, True, False]
    assert split.kept.tolist() == [True, False, False, False, False]


def test_split_keeps_nothing_for_a_share_of_nothing():
    importance = torch.rand(100, generator=torch.Generator().manual_seed(0))
    split = split_by_importance(importance, 0.999, 0.0)
    assert not split.kept.any()
    assert split.held.sum() > 90


@pytest.mark.parametrize("weighted", [True, False])
def test_codebook_step_is_that_of_a_slow_loop(weighted):
    generator = torch.Generator().manual_seed(1)
    vectors, codes = (torch.randn((count, 3), generator=generator) for count in (30, 7))
    importance = torch.rand(30, generator=generator)
    counts = torch.rand(7, generator=generator)
    times = torch.randint(1, 4, (30,), generator=generator)
    plan = CodebookPlan(codes=7, steps=1, expired=3, weighted=weighted)
    new_codes, new_counts = codebook_step(codes, counts, Batch(vectors, importance, times), plan)

    drawn = [own for own in range(30) for _ in range(int(times[own]))]
    share = np.array([float(importance[own]) if weighted else 1.0 for own in drawn])
    share *= len(drawn) / share.sum()
    used, sums = np.zeros(7), np.zeros((7, 3))
    for own, part in zip(drawn, share, strict=True):
        nearest = int(np.square(vectors[own].numpy() - codes.numpy()).sum(axis=1).argmin())
        used[nearest] += part
        sums[nearest] += part * vectors[own].numpy()
    wanted_counts = 0.8 * counts.numpy() + 0.2 * used
    smooth = (wanted_counts + 1e-5) / (wanted_counts.sum() + 7e-5) * wanted_counts.sum()
    wanted = 0.8 * codes.numpy() + 0.2 * sums / smooth[:, None]
    most = sorted(drawn, key=lambda own: -float(importance[own]))[:3]
    for place, own in zip(np.argsort(wanted_counts)[:3], most, strict=True):
        wanted[place] = vectors[own].numpy()
    np.testing.assert_allclose(new_counts.numpy(), wanted_counts, rtol=1e-4)
    np.testing.assert_allclose(new_codes.numpy(), wanted, rtol=1e-4, atol=1e-5)


def test_codebook_finds_clusters():
    generator = torch.Generator().manual_seed(2)
    centres = torch.randn((5, 4), generator=generator) * 5.0
    vectors = centres[torch.randint(5, (400,), generator=generator)]
    vectors = vectors + 0.01 * torch.randn((400, 4), generator=generator)
    plan = CodebookPlan(codes=32, steps=60, expired=4, batch=1000)
    codes = learn_codebook(vectors, torch.ones(400), plan, generator, Progress())
    error = float((vectors - codes[nearest_codes(vectors, codes)]).square().mean())
    # Codes that were just replaced move too far, as published, so that it is never exact.
    assert error < 0.05 * float(vectors.var())


def test_rows_of_a_code_become_their_mean():
    table = torch.arange(10.0).view(5, 2)
    codebook = torch.full((3, 2), 9.0)
    tied = TiedRows(torch.tensor([0, 2, 4]), torch.tensor([1, 1, 0]))
    tied.make_equal(table, codebook)
    assert table.tolist() == [[2.0, 3.0], [2.0, 3.0], [2.0, 3.0], [6.0, 7.0], [8.0, 9.0]]
    assert codebook.tolist() == [[8.0, 9.0], [2.0, 3.0], [9.0, 9.0]]


def test_eight_bits_are_fifteenths_of_the_deviation_around_the_rounded_mean():
    values = torch.randn(1000, generator=torch.Generator().manual_seed(0)) * 3.0 + 7.3
    stored = eight_bits(values)
    assert stored.zero == 7
    assert stored.scale == pytest.approx(float(values.std()) / 15.0, rel=1e-5)
    assert float((stored.values() - values).abs().max()) <= 0.5 * stored.scale * 1.001


@pytest.mark.parametrize("values", [[], [5.0], [0.0, 0.0], [2.0, 2.0, 2.0]])
def test_eight_bits_of_values_without_a_deviation(values):
    stored = eight_bits(torch.tensor(values))
    np.testing.assert_allclose(stored.values().numpy(), values, rtol=1e-2)


@pytest.mark.parametrize("codes", [2, 3, 16, 4096, 65536])
def test_indices_come_back(codes):
    indices = np.random.default_rng(0).integers(0, codes, 1001).astype(np.uint16)
    packed = pack_indices(indices, codes)
    assert len(packed) == math.ceil(1001 * math.ceil(math.log2(codes)) / 8)
    np.testing.assert_array_equal(unpack_indices(packed, 1001, codes), indices)


def test_indices_are_stored_highest_bit_first():
    assert pack_indices(np.array([0xABC, 0x123], np.uint16), 4096) == bytes([0xAB, 0xC1, 0x23])


@pytest.mark.parametrize("kind", ["network", "harmonics"])
def test_bytes_come_back_as_the_same_grid(kind):
    model = ball(kind)
    grid = compressed(model)
    frame = PaperFrame.of(model)
    sections = write_paper(grid)
    assert set(sections) == {MASKS, DENSITY, KEPT, INDICES, CODEBOOK} | (
        {NETWORK} if kind == "network" else set()
    )
    again = read_paper(sections, frame, len(grid.codebook))
    one, other = model_of(grid, frame), model_of(again, frame)
    assert torch.equal(one.index.row, other.index.row)
    for name, values in one.parameters().items():
        assert torch.equal(values, other.parameters()[name]), name
    assert write_paper(again) == sections


@pytest.mark.parametrize("kind", ["network", "harmonics"])
def test_what_is_stored_is_what_was_quantised(kind):
    model = ball(kind)
    supply = supply_of(model)
    seen = look_at_all_rays(model, DOMAIN, supply.cameras, Progress())
    coded = quantised(model, seen, SETTINGS)
    stored = model_of(rounded(coded), PaperFrame.of(model))
    # Rounding once more moves values by half a step of eight bits or of half floats.
    assert error_between(coded.model, stored, supply) < 1e-4
    assert error_between(model, stored, supply) < 0.02
    assert len(stored.raw_density) < len(model.raw_density)


def test_pruning_alone_hardly_shows():
    model = ball()
    supply = supply_of(model)
    seen = look_at_all_rays(model, DOMAIN, supply.cameras, Progress())
    left = pruned(model, seen.importance, SETTINGS)
    assert len(left.model.raw_density) < 0.5 * SIDE**3
    assert error_between(model, left.model, supply) < 1e-3


def test_fine_tuning_lowers_the_error_and_leaves_codes_shared():
    model = ball()
    supply = supply_of(model)
    settings = msgspec.structs.replace(SETTINGS, codes=4, expired_codes=1, steps=25, learning_rate=0.02)
    seen = look_at_all_rays(model, DOMAIN, supply.cameras, Progress())
    coded = quantised(model, seen, settings)
    tuned = fine_tuned(coded, (supply, DOMAIN), finetuning_plan(seen.pixels, settings), Progress())
    before, after = (error_between(model, own.model, supply) for own in (coded, tuned))
    assert after < 0.95 * before
    shared = tuned.codebook[tuned.tied.codes]
    assert torch.equal(tuned.model.features[tuned.tied.rows], shared)


class StopAfter(Progress):
    """Cancels itself after so many reports of fine-tuning."""

    def __init__(self, token, reports):
        super().__init__(None, token)
        self.token, self.left = token, reports

    def part(self, start, end, stage):
        return self if stage == "fine-tuning" else Progress()

    def resumed(self, fraction):
        return self

    def update(self, fraction, message=""):
        self.left -= 1
        if self.left == 0:
            self.token.cancel()
        super().update(fraction, message)


def test_an_interrupted_run_goes_on_to_the_same_bytes(tmp_path):
    model = ball()
    settings = msgspec.structs.replace(SETTINGS, steps=12)
    whole = write_paper(compressed(model, settings))
    with pytest.raises(Cancelled):
        compress_as_published(
            model, DOMAIN, supply_of(model), settings, StopAfter(CancelToken(), 7), folder=tmp_path
        )
    assert all((tmp_path / name).exists() for name in (CHECKPOINT, RAYS_SEEN, CODEBOOK_LEARNED))
    assert write_paper(compressed(model, settings, folder=tmp_path)) == whole


def test_cameras_that_see_nothing_are_refused():
    model = ball()
    clear = dataclasses.replace(model, raw_density=torch.full_like(model.raw_density, -50.0))
    with pytest.raises(UnsupportedSceneError, match="see nothing"):
        compress_as_published(clear, DOMAIN, supply_of(model), SETTINGS, Progress())


@pytest.fixture(scope="module")
def stored():
    model = ball()
    grid = compressed(model)
    return write_paper(grid), PaperFrame.of(model), grid


def test_every_prefix_and_longer_content_is_refused(stored):
    sections, frame, _ = stored
    for kind, data in sections.items():
        content = zlib.decompress(data)
        damaged = [data[:cut] for cut in range(0, len(data), max(1, len(data) // 40))]
        damaged += [data + b"\0", zlib.compress(content[:-1]), zlib.compress(content + b"\0")]
        for bytes_ in damaged:
            with pytest.raises(CorruptFileError):
                read_paper(sections | {kind: bytes_}, frame, 16)


def test_impossible_content_is_refused(stored):
    sections, frame, grid = stored
    size = -(-frame.lattice.nodes // 8)
    masks = np.frombuffer(zlib.decompress(sections[MASKS]), np.uint8)
    nothing, all_kept, loose = masks.copy(), masks.copy(), masks.copy()
    nothing[:] = 0
    all_kept[size:] = np.packbits(np.ones(frame.lattice.nodes, bool))
    loose[size - 1] |= 1  # 729 nodes leave seven bits of the last byte
    impossible = {MASKS: [nothing.tobytes(), all_kept.tobytes(), loose.tobytes()]}
    for kind in (DENSITY, KEPT):
        content = zlib.decompress(sections[kind])
        scales = (0.0, -1.0, math.inf, math.nan, 3e38)
        impossible[kind] = [np.float32(scale).tobytes() + content[4:] for scale in scales]
    for kind in (CODEBOOK, NETWORK):
        content = zlib.decompress(sections[kind])
        impossible[kind] = [np.float16(value).tobytes() + content[2:] for value in (math.inf, math.nan)]
    for kind, contents in impossible.items():
        for content in contents:
            with pytest.raises(CorruptFileError):
                read_paper(sections | {kind: zlib.compress(content)}, frame, 16)
    for codes in (0, 1, 15, 17, 32, 1 << 17):
        with pytest.raises(CorruptFileError):
            read_paper(sections, frame, codes)
    assert len(grid.codes)


def test_codes_beyond_the_codebook_are_refused():
    packed = pack_indices(np.array([0, 7, 3], np.uint16), 8)
    with pytest.raises(CorruptFileError):
        unpack_indices(packed, 3, 7)


def test_more_features_than_fit_are_refused(stored, monkeypatch):
    sections, frame, grid = stored
    monkeypatch.setattr(paper_syntax, "MAX_VALUES", 4 * int(grid.held.sum()) - 1)
    with pytest.raises(CorruptFileError, match="impossible"):
        read_paper(sections, frame, 16)


def test_missing_and_additional_sections_are_refused(stored):
    sections, frame, _ = stored
    for kind in sections:
        with pytest.raises(CorruptFileError):
            read_paper({own: data for own, data in sections.items() if own != kind}, frame, 16)
    with pytest.raises(CorruptFileError):
        read_paper(sections | {99: b""}, frame, 16)


def test_more_nodes_than_bytes_can_hold_are_refused_before_anything_is_inflated(stored, monkeypatch):
    sections, frame, _ = stored
    monkeypatch.setattr(paper_syntax.zlib, "decompressobj", lambda: pytest.fail("inflated"))
    for side in (600, 1 << 11):
        lattice = dataclasses.replace(frame.lattice, shape=(side,) * 3)
        with pytest.raises(CorruptFileError):
            read_paper(sections, dataclasses.replace(frame, lattice=lattice), 16)
