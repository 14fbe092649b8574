"""Files of each family hold the field that their own programs see."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import voxel_files as files

from scene_codec.errors import InvalidRequestError, UnsupportedSceneError
from scene_codec.object_inputs import content_of
from scene_codec.radiance.checkpoint_source import checkpoint_files
from scene_codec.voxel_fields.dvgo_writer import write_dvgo_checkpoint
from scene_codec.voxel_fields.field_files import load_voxel_field, looks_like_voxel_field
from scene_codec.voxel_fields.shading import HarmonicShader, NetworkShader, PlainShader


def points(count=200, seed=0):
    low, high = torch.tensor(files.LOW), torch.tensor(files.HIGH)
    return low + (high - low) * torch.rand(count, 3, generator=files.draw(seed))


def views(count):
    return F.normalize(torch.randn(count, 3, generator=files.draw(5)), dim=1)


def sampled(grid, places, aligned):
    """Return values (n, c) of a grid (1, c, x, y, z) at places in [-1, 1]."""
    grid = F.grid_sample(grid, places.flip(1).view(1, 1, 1, -1, 3), align_corners=aligned)
    return grid.view(grid.shape[1], -1).t()


def placed(positions, low=files.LOW, high=files.HIGH):
    low, high = torch.tensor(low), torch.tensor(high)
    return (positions - low) / (high - low) * 2.0 - 1.0


def encoded(values, octaves):
    angles = (values[..., None] * 2.0 ** torch.arange(octaves)).flatten(1)
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def network(state, prefix, inputs):
    names = sorted(name for name in state if name.startswith(prefix) and name.endswith("weight"))
    for name in names:
        inputs = F.linear(inputs, state[name].float(), state[name.replace("weight", "bias")].float())
        inputs = inputs if name is names[-1] else inputs.relu()
    return inputs


def colours_of(model, positions, directions):
    every = torch.arange(len(positions))
    return model.probe(positions).colours(every, directions, every)


@pytest.mark.parametrize("family", files.WRITERS)
def test_each_family_is_told_and_read(tmp_path, family):
    name, write = files.WRITERS[family]
    path = write(tmp_path / name)
    assert looks_like_voxel_field(path)
    assert content_of(path) == "radiance"
    found = load_voxel_field(path)
    assert found.family == family.removesuffix(" legacy")
    assert found.source_bytes == path.stat().st_size
    assert found.step == (20000 if found.family in ("dvgo", "vqrf") else 0)
    assert found.parameter_bytes > 4 * math.prod(files.SHAPE)
    low, high = found.domain.low, found.domain.high
    assert found.domain.white_background
    assert 0.5 * (found.domain.near + found.domain.far) > 0.5 * math.dist(low, high)


@pytest.mark.parametrize("residual", [False, True])
def test_a_grid_of_directvoxgo_is_interpolated_between_corners(tmp_path, residual):
    model = load_voxel_field(files.write_dvgo(tmp_path / "a.tar", residual=residual)).model
    state = files.dvgo_content(residual=residual)["model_state_dict"]
    positions, directions = points(), views(200)
    raw = sampled(state["density.grid"], placed(positions), True)[:, 0]
    base = (math.prod(b - a for a, b in zip(files.LOW, files.HIGH, strict=True)) / 60) ** (1 / 3)
    torch.testing.assert_close(model.probe(positions).density, F.softplus(raw - 2.0) / base)
    features = sampled(state["k0.grid"], placed(positions), True)
    own = features[:, 3:] if residual else features
    logits = network(state, "rgbnet.", torch.cat([own, directions, encoded(directions, 2)], dim=1))
    wanted = (logits + features[:, :3] if residual else logits).sigmoid()
    torch.testing.assert_close(colours_of(model, positions, directions), wanted, atol=1e-5, rtol=1e-5)


def test_a_coarse_grid_of_directvoxgo_has_colours_of_its_own(tmp_path):
    model = load_voxel_field(files.write_dvgo(tmp_path / "a.tar", coarse=True)).model
    assert isinstance(model.shader, PlainShader)
    grid = files.dvgo_content(coarse=True)["model_state_dict"]["k0.grid"]
    wanted = sampled(grid, placed(points()), True).sigmoid()
    torch.testing.assert_close(colours_of(model, points(), views(200)), wanted)


def test_a_grid_of_svox2_is_interpolated_between_centres_and_scaled(tmp_path):
    for old in (False, True):
        path = files.write_svox2(tmp_path / "ckpt.npz", old=old)
        model = load_voxel_field(path, scale=2.0).model
        content = files.svox2_content()
        centre, radius = content["center"], content["radius"]
        dense = np.zeros((28, *files.SHAPE), np.float32)
        held = content["links"] >= 0
        dense[:, held] = np.concatenate([content["density_data"], content["sh_data"]], axis=1).T
        positions = torch.from_numpy(centre) + points() * 0.99
        places = placed(positions, tuple(centre - radius), tuple(centre + radius))
        grid = F.grid_sample(
            torch.from_numpy(dense)[None],
            places.flip(1).view(1, 1, 1, -1, 3),
            align_corners=False,
            padding_mode="border",
        ).view(28, -1)
        torch.testing.assert_close(
            model.probe(2.0 * positions).density, grid[0].relu() / 2.0, atol=1e-4, rtol=1e-4
        )
        assert isinstance(model.shader, HarmonicShader)


@pytest.mark.parametrize("planes", [True, False])
def test_factors_of_tensorf_are_summed_and_shaded(tmp_path, planes):
    model = load_voxel_field(files.write_tensorf(tmp_path / "a.th", planes=planes)).model
    state = files.tensorf_content(planes=planes)["state_dict"]
    positions, directions = points(), views(200)
    places = placed(positions)

    def products(name):
        parts = []
        for index, (first, second, along) in enumerate(((0, 1, 2), (0, 2, 1), (1, 2, 0))):
            at = torch.stack([torch.zeros(len(places)), places[:, along]], dim=1).view(1, -1, 1, 2)
            part = F.grid_sample(state[f"{name}_line.{index}"], at, align_corners=True).view(-1, len(places))
            if planes:
                at = places[:, [first, second]].view(1, -1, 1, 2)
                plane = F.grid_sample(state[f"{name}_plane.{index}"], at, align_corners=True)
                part = part * plane.view(-1, len(places))
            parts.append(part)
        return torch.cat(parts) if planes else parts[0] * parts[1] * parts[2]

    wanted = F.softplus(products("density").sum(0) - 1.0) * 25.0
    torch.testing.assert_close(model.probe(positions).density, wanted, atol=1e-4, rtol=1e-4)
    own = products("app").t() @ state["basis_mat.weight"].t()
    inputs = torch.cat([own, directions, encoded(own, 2), encoded(directions, 2)], dim=1)
    wanted = network(state, "renderModule.mlp.", inputs).sigmoid()
    torch.testing.assert_close(colours_of(model, positions, directions), wanted, atol=1e-4, rtol=1e-4)


def test_the_mask_of_tensorf_is_turned_from_z_y_x(tmp_path):
    model = load_voxel_field(files.write_tensorf(tmp_path / "a.th")).model
    content = files.tensorf_content()
    held = np.unpackbits(content["alphaMask.mask"], count=math.prod(files.SHAPE))
    volume = torch.from_numpy(held.reshape(content["alphaMask.shape"])).float()
    grid = F.grid_sample(volume, placed(points()).view(1, -1, 1, 1, 3), align_corners=True)
    assert torch.equal(model.may_hold(points()), grid.view(-1) > 0)


@pytest.mark.parametrize("shading", ["SH", "RGB", "MLP"])
def test_other_shadings_of_tensorf_are_read(tmp_path, shading):
    model = load_voxel_field(files.write_tensorf(tmp_path / "a.th", shading=shading, mask=False)).model
    kinds = {"SH": HarmonicShader, "RGB": PlainShader, "MLP": NetworkShader}
    assert isinstance(model.shader, kinds[shading])
    assert torch.isfinite(colours_of(model, points(), views(200))).all()


@pytest.mark.parametrize("codes", [2, 40, 64, 65])
def test_a_folder_of_vqrf_is_put_together(tmp_path, codes):
    folder = files.write_vqrf(tmp_path / "extreme_saving", codes=codes)
    _, _, raw, features = files.vqrf_content(codes)
    for path in (folder, files.packed(folder)):
        found = load_voxel_field(path)
        model = found.model
        for table, dense in ((model.raw_density, raw[..., None]), (model.features, features)):
            torch.testing.assert_close(model.index.dense(table.float()), torch.from_numpy(dense))
        wanted = sampled(torch.from_numpy(raw)[None, None], placed(points()), False)
        mixed = model.index.around(points()).mix(model.raw_density)
        torch.testing.assert_close(mixed, wanted, atol=1e-5, rtol=1e-5)


def test_what_is_written_is_read_again(tmp_path):
    for changed in ({}, {"residual": True}, {"coarse": True}):
        first = load_voxel_field(files.write_dvgo(tmp_path / "a.tar", **changed))
        write_dvgo_checkpoint(tmp_path / "b.tar", first.model, first.domain, 7)
        second = load_voxel_field(tmp_path / "b.tar")
        assert (second.step, second.domain) == (7, first.domain)
        assert second.model.step.size == pytest.approx(first.model.step.size, rel=0.05)
        for name, values in first.model.parameters().items():
            torch.testing.assert_close(second.model.parameters()[name], values)
        positions = points(500)
        torch.testing.assert_close(
            second.model.probe(positions).density, first.model.probe(positions).density
        )
        assert torch.equal(second.model.may_hold(positions), first.model.may_hold(positions))


def test_a_written_file_has_the_entries_of_the_original(tmp_path):
    first = load_voxel_field(files.write_dvgo(tmp_path / "a.tar"))
    write_dvgo_checkpoint(tmp_path / "b.tar", first.model, first.domain, 7)
    with torch.serialization.safe_globals(
        [np._core.multiarray._reconstruct, np.ndarray, np.dtype, np.dtypes.Float32DType]
    ):
        written = torch.load(tmp_path / "b.tar", weights_only=True)
    original = files.dvgo_content()
    for name, value in original["model_state_dict"].items():
        torch.testing.assert_close(written["model_state_dict"][name], value)
    options = written["model_kwargs"]
    assert set(options) >= set(original["model_kwargs"])
    sides = torch.from_numpy(options["xyz_max"] - options["xyz_min"])
    edge = (sides.prod() / options["num_voxels"]).pow(1 / 3)
    assert tuple((sides / edge).long().tolist()) == files.SHAPE


@pytest.mark.parametrize("family", ["plenoxels", "vqrf"])
def test_grids_between_centres_are_not_written(tmp_path, family):
    name, write = files.WRITERS[family]
    found = load_voxel_field(write(tmp_path / name))
    with pytest.raises(InvalidRequestError, match="centres of cells"):
        write_dvgo_checkpoint(tmp_path / "b.tar", found.model, found.domain, 7)
    assert not (tmp_path / "b.tar").exists()


def test_a_search_finds_each_field_once(tmp_path):
    for scene in ("chair", "lego"):
        (tmp_path / scene).mkdir()
        files.write_dvgo(tmp_path / scene / "coarse_last.tar", coarse=True)
        files.write_dvgo(tmp_path / scene / "fine_last.tar")
    (tmp_path / "ficus").mkdir()
    files.packed(files.write_vqrf(tmp_path / "ficus" / "extreme_saving"))
    files.write_svox2(tmp_path / "ficus" / "ckpt.npz")
    found = checkpoint_files([tmp_path])
    assert [(item.name, item.paths[0].name, item.voxels) for item in found] == [
        ("chair", "fine_last.tar", "dvgo"),
        ("ficus", "ckpt.npz", "plenoxels"),
        ("ficus", "extreme_saving", "vqrf"),
        ("lego", "fine_last.tar", "dvgo"),
    ]
    assert content_of(tmp_path) == "radiance"
    (one,) = checkpoint_files([tmp_path / "ficus" / "extreme_saving"])
    assert (one.name, one.paths) == ("ficus", (tmp_path / "ficus" / "extreme_saving",))


def test_volumes_networks_and_foreign_archives_are_no_voxel_fields(tmp_path):
    np.savez(tmp_path / "smoke.npz", density=np.zeros((3, 3, 3)))
    torch.save({"network_fn_state_dict": {}, "global_step": 1}, tmp_path / "200.tar")
    for path in (tmp_path / "smoke.npz", tmp_path / "200.tar", tmp_path / "none.th", tmp_path):
        assert not looks_like_voxel_field(path)
        with pytest.raises(UnsupportedSceneError):
            load_voxel_field(path)
    assert content_of(tmp_path / "smoke.npz") == "volume"
