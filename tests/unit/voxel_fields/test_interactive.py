"""Interactive pictures against those of the field's own renderer, and coarser grids against finer ones."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from made_fields import DOMAIN, SHADERS, ball
from voxel_files import draw

from scene_codec.errors import Cancelled
from scene_codec.metrics.image_quality import psnr
from scene_codec.progress import CancelToken, Progress
from scene_codec.radiance.camera_paths import camera_path
from scene_codec.radiance.cameras import Rays
from scene_codec.radiance.field import render_view
from scene_codec.voxel_fields.cell_rendering import Thresholds
from scene_codec.voxel_fields.cell_table import CellTable, raw_density_of
from scene_codec.voxel_fields.detail_levels import halved
from scene_codec.voxel_fields.grid_model import visible_nodes
from scene_codec.voxel_fields.interactive import InteractiveField
from scene_codec.voxel_fields.voxel_field import VoxelField
from scene_codec.voxel_fields.voxel_model import DensityRule

CAMERA = camera_path(DOMAIN, 5, 30.0, (48, 48))[1]
EXACT = Thresholds(alpha=1e-6, weight=0.0, dark=0.0, together=1)


@pytest.mark.parametrize("shader", SHADERS)
def test_pictures_are_close_to_those_of_the_field(shader):
    model = ball(SHADERS[shader])
    wanted = render_view(VoxelField(model, DOMAIN), CAMERA)
    seen = render_view(InteractiveField.of_model(model, DOMAIN), CAMERA)
    assert 0.1 < wanted.opacity.mean() < 0.9
    assert psnr(wanted.colour, seen.colour) > 34.0
    np.testing.assert_allclose(seen.opacity, wanted.opacity, atol=0.1)
    shown = wanted.opacity > 0.9
    np.testing.assert_allclose(seen.depth[shown], wanted.depth[shown], atol=max(model.index.lattice.voxel))


@pytest.mark.parametrize("softplus", [True, False])
def test_without_savings_pictures_are_those_of_the_field(softplus):
    model = ball(softplus=softplus)
    model = dataclasses.replace(
        model, limits=dataclasses.replace(model.limits, alpha=0.0, weight=0.0, dark=0.0)
    )
    table = CellTable.of_model(model, 1e-6)
    field = InteractiveField(model, DOMAIN, (table,), EXACT)
    wanted, seen = render_view(VoxelField(model, DOMAIN), CAMERA), render_view(field, CAMERA)
    # What is fainter than a millionth in a step is not held.
    np.testing.assert_allclose(seen.colour, wanted.colour, atol=2e-4)
    np.testing.assert_allclose(seen.opacity, wanted.opacity, atol=2e-4)
    shown = wanted.opacity > 0.5
    np.testing.assert_allclose(seen.depth[shown], wanted.depth[shown], atol=2e-3)


def test_a_picture_is_premultiplied_and_has_no_background():
    field = InteractiveField.of_model(ball(), DOMAIN)
    picture, view = field.picture(CAMERA), render_view(field, CAMERA)
    clear = 1.0 - picture.rgba[..., 3:]
    np.testing.assert_allclose((picture.rgba[..., :3] + clear).clip(0.0, 1.0), view.colour, atol=1e-6)
    np.testing.assert_array_equal(picture.depth, view.depth)
    assert picture.rgba.dtype == picture.depth.dtype == np.float32
    assert (picture.rgba[picture.rgba[..., 3] == 0.0] == 0.0).all()


def test_rays_that_meet_nothing_see_nothing():
    field = InteractiveField.of_model(ball(), DOMAIN)
    rays = Rays(
        torch.tensor([[0.0, 0.0, 3.0], [5.0, 0.0, 3.0]]), torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]])
    )
    seen = field.render(rays)
    assert (seen.opacity == 0.0).all()
    assert (seen.depth == 0.0).all()
    assert (seen.colour == 1.0).all()


def test_a_field_without_anything_is_rendered():
    model = ball(size=0.5)
    field = InteractiveField.of_model(
        model.with_parameters(
            model.parameters() | {"raw_density": torch.full_like(model.raw_density, -20.0)}
        ),
        DOMAIN,
    )
    assert not field.picture(CAMERA).rgba.any()


def test_only_places_that_the_mask_names_are_looked_at():
    model = ball()
    mask = visible_nodes(model)
    mask.held[: mask.held.shape[0] // 2] = False
    field = InteractiveField.of_model(dataclasses.replace(model, mask=mask), DOMAIN)
    held = field.levels[0].cells.cell.view(*(count - 1 for count in model.index.lattice.shape)) >= 0
    half = mask.held.shape[0] // 2
    assert not held[: half - 2].any()
    assert held[half + 1 :].any()


def test_densities_are_those_of_the_field():
    model = ball()
    places = torch.rand(200, 3, generator=draw(3)) * 2.0 - 1.0
    torch.testing.assert_close(
        InteractiveField.of_model(model, DOMAIN).density(places), VoxelField(model, DOMAIN).density(places)
    )


def test_rendering_ends_when_it_is_cancelled():
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled):
        InteractiveField.of_model(ball(), DOMAIN).picture(CAMERA, Progress(None, token))


@pytest.mark.parametrize("softplus", [True, False])
def test_raw_densities_are_found_again(softplus):
    rule = DensityRule(softplus=softplus, shift=-3.0, scale=5.0)
    for density in (1e-3, 0.5, 20.0, 800.0):
        raw = torch.tensor([raw_density_of(rule, density)], dtype=torch.float64)
        assert float(rule.density(raw)) == pytest.approx(density, rel=1e-6)


@pytest.mark.parametrize("softplus", [True, False])
def test_a_coarser_grid_of_an_even_one_is_as_dense(softplus):
    model = ball(softplus=softplus)
    full = torch.full_like(model.raw_density, 18.0)
    model = model.with_parameters(model.parameters() | {"raw_density": full})
    coarse = halved(model)
    assert coarse.step.size == 2.0 * model.step.size
    assert [2.0 * voxel for voxel in model.index.lattice.voxel] == pytest.approx(coarse.index.lattice.voxel)
    places = (torch.rand(100, 3, generator=draw(4)) - 0.5) * 0.5
    torch.testing.assert_close(
        coarse.probe(places).density, model.probe(places).density, rtol=1e-4, atol=1e-4
    )


def test_a_coarser_grid_shows_nearly_the_same():
    model = ball(SHADERS["plain"], nodes=40)
    camera = CAMERA.resized(16, 16)
    wanted = render_view(VoxelField(model, DOMAIN), CAMERA).colour.reshape(16, 3, 16, 3, 3).mean(axis=(1, 3))
    field = InteractiveField.of_model(model, DOMAIN)
    coarse = dataclasses.replace(field, levels=field.levels[1:])
    assert psnr(wanted, render_view(coarse, camera).colour) > 26.0


def test_the_level_follows_from_the_size_of_pixels():
    field = InteractiveField.of_model(ball(nodes=40), DOMAIN)
    voxel = math.prod(field.model.index.lattice.voxel) ** (1 / 3)
    away = float(np.linalg.norm(CAMERA.pose[:3, 3]))
    levels = []
    for pixel in (0.2, 0.9, 1.9, 2.1, 3.9, 4.1, 50.0):
        focal = away / (pixel * voxel)
        levels.append(field.level_for(dataclasses.replace(CAMERA, focal_x=focal, focal_y=focal)))
    assert levels == [0, 0, 0, 1, 1, 2, 2]
