"""What is skipped when rays are sampled in held cells, against looking every sample up."""

import pytest
import torch
from voxel_files import draw

from scene_codec.radiance.field_space import FieldRays
from scene_codec.voxel_fields.held_cells import HeldCells
from scene_codec.voxel_fields.node_lattice import NodeLattice

LATTICE = NodeLattice((30, 41, 52), (-1.0, -1.0, -1.0), (1.0, 1.5, 2.0))


def cells_and_rays():
    shape = tuple(count - 1 for count in LATTICE.shape)
    held = torch.rand(shape, generator=draw(1)) < 0.002
    held[0, 0, 0] = held[-1, -1, -1] = held[-1, 0, :] = True
    origins = torch.randn(400, 3, generator=draw(2)) * 3.0
    targets = torch.tensor(LATTICE.low) + torch.rand(400, 3, generator=draw(3)) * torch.tensor(
        [2.0, 2.5, 3.0]
    )
    directions = (targets - origins) * 0.7
    views = torch.nn.functional.normalize(directions, dim=1)
    rays = FieldRays(origins, directions, directions.norm(dim=1), views)
    return HeldCells.of_cells(LATTICE, held.flatten()), held, rays


@pytest.mark.parametrize("voxels", [0.25, 0.5, 0.9, 1.5, 4.0])
def test_no_sample_in_a_held_cell_is_skipped(voxels):
    cells, held, rays = cells_and_rays()
    step = voxels * min(LATTICE.voxel)
    known = cells.steps(rays, step, 0.3, torch.zeros(len(rays)))
    run = cells.longest_run(step)
    ray, place = cells.runs(known, run)
    looked_at = {
        (int(own), int(first) + number)
        for own, first in zip(ray, place, strict=True)
        for number in range(run)
    }
    most = int(known[:, 6].max())
    number = torch.arange(most).float()
    points = known[:, None, :3] + known[:, None, 3:6] * number[:, None]
    inside = number < known[:, 6:7]
    last = torch.tensor(held.shape) - 1
    cell = torch.minimum(points.long().clamp_min(0), last)
    wanted = held[cell[..., 0], cell[..., 1], cell[..., 2]] & inside
    assert wanted.any()
    missing = {tuple(pair) for pair in wanted.nonzero().tolist()} - looked_at
    assert not missing
    assert len(looked_at) < 0.8 * int(inside.sum())


def test_runs_are_sorted_by_ray_and_distance():
    cells, _, rays = cells_and_rays()
    known = cells.steps(rays, 0.02, 0.3, torch.zeros(len(rays)))
    ray, place = cells.runs(known)
    order = ray * 100_000 + place.long()
    assert (order[1:] > order[:-1]).all()


def test_steps_know_how_far_samples_are_along_their_rays():
    cells, _, rays = cells_and_rays()
    known = cells.steps(rays, 0.02, 0.3, torch.zeros(len(rays)))
    met = known[:, 6] > 0
    distance = known[:, 7] + 3.0 * known[:, 8]
    points = rays.origins + rays.directions * distance[:, None]
    counted = known[:, :3] + 3.0 * known[:, 3:6]
    torch.testing.assert_close(LATTICE.coordinates(points)[met], counted[met], atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(known[:, 8] * rays.lengths, torch.full((len(rays),), 0.02))


@pytest.mark.parametrize(("voxels", "run"), [(0.1, 8), (0.5, 8), (1.0, 4), (2.0, 2), (7.0, 1)])
def test_longer_steps_are_looked_up_in_shorter_runs(voxels, run):
    cells, _, _ = cells_and_rays()
    assert cells.longest_run(voxels * min(LATTICE.voxel)) == run
