"""The codec of voxel fields on tiny ones: settings, files of all families, and what comes back."""

import dataclasses
import shutil
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
import voxel_balls
from nerf_checkpoints import write_blob
from PIL import Image, ImageOps
from voxel_balls import DOMAIN, PAPER, TINY, ball, look_at_little, view, write_ball, write_pictures

import scene_codec
from scene_codec.bitstream import open_scene_file
from scene_codec.codecs.radiance_vqrf.config import PRESETS, UNUSED, RadianceVqrfSettings, settings_for
from scene_codec.codecs.radiance_vqrf.decoder import decode_field
from scene_codec.codecs.radiance_vqrf.encoder import encode_field
from scene_codec.codecs.radiance_vqrf.quantised_grid import QuantisedGrid
from scene_codec.codecs.radiance_vqrf.stored_field import read_header
from scene_codec.codecs.radiance_vqrf.syntax import FIELD
from scene_codec.codecs.registry import codec_named
from scene_codec.errors import (
    Cancelled,
    CorruptFileError,
    InvalidRequestError,
    SceneCodecError,
    UnsupportedSceneError,
)
from scene_codec.metrics.image_quality import psnr
from scene_codec.object_inputs import default_codec
from scene_codec.progress import CancelToken, Progress
from scene_codec.radiance.posed_images import load_posed_images
from scene_codec.radiance.radiance_object import RadianceObject
from scene_codec.radiance.ray_supply import CameraSet, PictureRays
from scene_codec.voxel_fields.dvgo_writer import write_dvgo_checkpoint
from scene_codec.voxel_fields.field_files import load_voxel_field
from scene_codec.voxel_fields.grid_model import GridModel, GridStep
from scene_codec.voxel_fields.node_lattice import NodeIndex, NodeLattice
from scene_codec.voxel_fields.shading import PlainShader
from scene_codec.voxel_fields.voxel_field import VoxelField
from scene_codec.voxel_fields.voxel_model import DensityRule, Limits

sys.path.insert(0, str(Path(__file__).parents[1] / "voxel_fields"))
import voxel_files

CPU = torch.device("cpu")


@pytest.fixture(autouse=True, scope="module")
def few_rays():
    with pytest.MonkeyPatch.context() as patch:
        look_at_little(patch)
        yield


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_ball(tmp_path_factory.mktemp("ball") / "ball.tar")


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A field without a network, which is quicker to encode."""
    return write_ball(tmp_path_factory.mktemp("plain") / "plain.tar", "plain")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("pictures"))


def settings_of(preset=None, **changes):
    return msgspec.structs.replace(settings_for(preset), **changes)


def sections_of(path, settings, progress=None, folder=None):
    found = encode_field(load_voxel_field(path), settings, CPU, progress or Progress(), folder)
    return {section.kind: section.payload for section in found}


def encoded(path, output, preset=None, **settings):
    """Return the report, what `inspect` tells of the field, and the field."""
    report = scene_codec.encode(path, output, preset=preset, settings=settings, device="cpu")
    (item,) = scene_codec.decode(output, device="cpu")
    assert isinstance(item, RadianceObject)
    return report, scene_codec.inspect(output).objects[0].details["field"][0], item.field


def error_to(before, after, cameras, count=voxel_balls.CHECK_RAYS):
    """Return the squared error of pixels drawn as the encoder draws them when it measures."""
    pixel = torch.randint(cameras.pixels, (count,), generator=torch.Generator().manual_seed(1))
    seen = [field.render(cameras.rays(pixel)).colour for field in (before, after)]
    return float((seen[0] - seen[1]).square().mean())


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_are_settings_without_contradictions(preset):
    found = codec_named("radiance-vqrf").settings(preset, {})
    assert found == PRESETS[preset][1]
    assert found.method == ("vqrf" if preset == "paper" else "rate")


@pytest.mark.parametrize(
    ("preset", "changes", "message"),
    [
        ("cheap", {}, "no preset 'cheap'"),
        (None, {"near": 3.0, "far": 3.0}, "near must be smaller"),
        ("paper", {"codes": 16, "expired_codes": 16}, "fewer than codes"),
        ("paper", {"error_per_kilobyte": 1e-5}, "error_per_kilobyte has no meaning"),
        ("paper", {"keep": 0.9, "prune": 0.8}, "keep must not be larger"),
        ("fast", {"rays": 64}, "rays has no meaning with 0 steps"),
        (None, {"steps": 0, "learning_rate": 0.01}, "learning_rate has no meaning"),
        (None, {"steps": -1}, "steps"),
        (None, {"method": "deflate"}, "method"),
        (None, {"error_per_kilobyte": 0.0}, "error_per_kilobyte"),
        (None, {"keeps": 0.5}, "keeps"),
    ],
)
def test_settings_that_make_no_sense_are_named(preset, changes, message):
    with pytest.raises(InvalidRequestError, match=message):
        codec_named("radiance-vqrf").settings(preset, changes)


def test_units_are_for_fields_that_have_their_own(plain, tmp_path):
    with pytest.raises(InvalidRequestError, match="scale has no meaning"):
        encoded(plain, tmp_path / "plain.nscene", "fast", scale=2.0)


@pytest.mark.parametrize("name", UNUSED["rate"])
def test_settings_of_the_other_method_are_refused(name):
    plain = getattr(RadianceVqrfSettings(), name)
    changed = not plain if isinstance(plain, bool) else plain / 2 if isinstance(plain, float) else plain + 1
    with pytest.raises(InvalidRequestError, match=f"{name} has no meaning"):
        codec_named("radiance-vqrf").settings(None, {name: changed})


@pytest.mark.parametrize(("preset", "changes"), [("fast", {}), (None, {"steps": 20, "rays": 128})])
def test_what_comes_back_shows_what_the_field_showed(checkpoint, tmp_path, preset, changes):
    report, details, field = encoded(checkpoint, tmp_path / "ball.nscene", preset, **changes)
    before = VoxelField(ball(), DOMAIN)
    assert psnr(view(before), view(field)) > 35.0
    cameras = CameraSet(voxel_balls.few_cameras(DOMAIN))
    measured = -10.0 * np.log10(error_to(before, field, cameras))
    assert details["psnr_to_field"] == pytest.approx(measured, abs=0.02)
    assert details["psnr_to_training_pictures"] is None
    assert details["family"] == "dvgo"
    assert details["nodes"] < voxel_balls.SIDE**3
    assert report.objects[0].parameters == load_voxel_field(checkpoint).parameter_bytes // 4
    assert report.file_bytes < report.objects[0].binary_bytes / 10


def test_pictures_are_learned_from_and_the_file_says_how_well(checkpoint, pictures, tmp_path):
    output = tmp_path / "ball.nscene"
    _, details, field = encoded(checkpoint, output, **TINY, images=str(pictures))
    supply = PictureRays(load_posed_images(pictures, "train"), DOMAIN)
    pixel = torch.randint(
        supply.cameras.pixels, (voxel_balls.CHECK_RAYS,), generator=torch.Generator().manual_seed(1)
    )
    rays, colours = supply.at(pixel)
    measured = -10.0 * float((field.render(rays).colour - colours).square().mean().log10())
    assert details["psnr_to_training_pictures"] == pytest.approx(measured, abs=0.02)
    assert measured > 30.0


def test_pictures_of_something_else_are_refused_before_the_work(checkpoint, pictures, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(pictures, other)
    for file in other.rglob("*.png"):
        with Image.open(file) as picture:
            turned = ImageOps.invert(picture)
        turned.save(file)
    with pytest.raises(InvalidRequestError, match=r"do not show this field: it is \d+\.\d dB from them"):
        encoded(checkpoint, tmp_path / "ball.nscene", **TINY, images=str(other))
    assert not (tmp_path / "ball.nscene").exists()


@pytest.mark.parametrize("preset", ["balanced", "paper"])
def test_an_interrupted_run_goes_on_to_the_same_bytes(checkpoint, tmp_path, preset):
    changes = PAPER if preset == "paper" else TINY
    settings = settings_of(preset, **{**changes, "steps": 5})
    whole = sections_of(checkpoint, settings)
    token = CancelToken()

    def stop(event):
        if event.message.startswith("step 3,"):
            token.cancel()

    with pytest.raises(Cancelled):
        sections_of(checkpoint, settings, Progress(stop, token), tmp_path)
    assert (tmp_path / "checkpoint.pt").exists()
    # The third run is also the proof that the same settings give the same bytes.
    assert sections_of(checkpoint, settings, folder=tmp_path) == whole


@pytest.mark.parametrize("learns_from", ["field", "pictures"])
def test_steps_whose_rays_miss_everything_change_nothing_and_go_on(
    checkpoint, pictures, tmp_path, monkeypatch, learns_from
):
    missed = lambda self, rays, near: torch.zeros(len(rays), dtype=torch.bool)  # noqa: E731
    monkeypatch.setattr(QuantisedGrid, "meeting", missed)
    images = {"images": str(pictures)} if learns_from == "pictures" else {}
    _, details, _ = encoded(checkpoint, tmp_path / "ball.nscene", steps=2, rays=16, **images)
    assert details["psnr_to_field"] > 20.0


def test_larger_errors_make_smaller_files(plain):
    sizes = [
        sum(map(len, sections_of(plain, settings_of("fast", error_per_kilobyte=error)).values()))
        for error in (1e-7, 1e-4)
    ]
    assert sizes[1] < 0.7 * sizes[0]


@pytest.mark.parametrize("family", ["dvgo", "plenoxels", "tensorf-vm", "tensorf-cp", "vqrf"])
def test_files_of_every_family_come_back(family, tmp_path):
    name, write = voxel_files.WRITERS[family]
    path = write(tmp_path / name)
    assert default_codec(path) == "radiance-vqrf"
    _, details, field = encoded(path, tmp_path / "field.nscene", "fast")
    assert details["family"] == family
    assert isinstance(field, VoxelField)
    # Noise from node to node; some families also reach half a cell farther than plain grids.
    assert details["psnr_to_field"] > (15.0 if family in ("plenoxels", "vqrf") else 25.0)


@pytest.mark.parametrize("family", ["dvgo", "plenoxels", "tensorf-vm", "vqrf"])
def test_the_published_method_takes_grids_and_planes(family, tmp_path):
    name, write = voxel_files.WRITERS[family]
    _, details, _ = encoded(write(tmp_path / name), tmp_path / "field.nscene", "paper", **PAPER)
    assert details["method"] == "vqrf"
    assert details["psnr_to_field"] > 10.0


def test_the_published_method_shows_what_the_field_showed(checkpoint, tmp_path):
    _, details, field = encoded(checkpoint, tmp_path / "ball.nscene", "paper", **PAPER, keep=0.9)
    assert psnr(view(VoxelField(ball(), DOMAIN)), view(field)) > 30.0
    assert details["lattice"] == (voxel_balls.SIDE,) * 3


@pytest.mark.parametrize("name", ["nodes", "coordinates"])
def test_the_published_method_holds_what_its_description_says(plain, tmp_path, name):
    encoded(plain, tmp_path / "plain.nscene", preset="paper", **PAPER)
    with open_scene_file(tmp_path / "plain.nscene") as scene:
        kinds = [section.kind for section in scene.object("plain").sections]
        sections = {kind: scene.read_object("plain", kind) for kind in kinds}
    header = read_header(sections[FIELD])
    wrong = msgspec.structs.replace(header, **{name: getattr(header, name) + 1})
    with pytest.raises(CorruptFileError, match="and not"):
        decode_field({**sections, FIELD: msgspec.msgpack.encode(wrong)}, CPU)


def test_the_published_method_says_what_it_cannot_do(tmp_path):
    path = voxel_files.write_tensorf(tmp_path / "cp.th", planes=False)
    with pytest.raises(UnsupportedSceneError, match="lines alone"):
        sections_of(path, settings_of("paper", **PAPER))


def test_colours_without_a_network_are_coded(plain, tmp_path):
    _, details, field = encoded(plain, tmp_path / "plain.nscene", "fast")
    assert details["shader"] == "plain"
    assert psnr(view(VoxelField(ball("plain"), DOMAIN)), view(field)) > 35.0


def test_fields_are_refused_by_the_codec_of_the_others(checkpoint, tmp_path):
    network = write_blob(tmp_path / "blob.tar")
    with pytest.raises(SceneCodecError, match="blob"):
        scene_codec.encode(network, tmp_path / "o.nscene", codec="radiance-vqrf", device="cpu")
    with pytest.raises(SceneCodecError, match="ball"):
        scene_codec.encode(checkpoint, tmp_path / "o.nscene", codec="nerf-pruned", device="cpu")
    with pytest.raises(InvalidRequestError, match="two files"):
        scene_codec.encode([network, checkpoint], tmp_path / "o.nscene", device="cpu")
    assert not (tmp_path / "o.nscene").exists()


def test_one_bad_file_among_good_ones_is_named(plain, tmp_path):
    (tmp_path / "broken.npz").write_bytes(voxel_files.write_svox2(tmp_path / "whole.npz").read_bytes()[:900])
    (tmp_path / "whole.npz").unlink()
    inputs = [plain, tmp_path / "broken.npz"]
    report = scene_codec.encode(
        inputs, tmp_path / "both.nscene", codec="radiance-vqrf", preset="fast", device="cpu"
    )
    assert [item.name for item in report.objects] == ["plain"]
    assert [failure.name for failure in report.failures] == ["broken"]


@pytest.mark.parametrize("changes", [{"near": 7.0}, {"images": "images-nowhere"}])
def test_spaces_and_pictures_that_are_not_there_are_named(checkpoint, changes):
    with pytest.raises(InvalidRequestError, match=next(iter(changes))):
        sections_of(checkpoint, settings_of("fast", **changes))


@pytest.mark.parametrize("preset", ["fast", "paper"])
def test_a_field_that_shows_nothing_is_refused(tmp_path, preset):
    clear = dataclasses.replace(ball(), raw_density=torch.full((voxel_balls.SIDE**3, 1), -50.0))
    write_dvgo_checkpoint(tmp_path / "clear.tar", clear, DOMAIN, 1)
    with pytest.raises(UnsupportedSceneError, match="see"):
        sections_of(tmp_path / "clear.tar", settings_of(preset))


def test_what_no_file_can_hold_is_named_before_the_work_and_the_others_are_coded(plain, tmp_path):
    long = NodeLattice((2050, 2, 2), (-10.25, -0.01, -0.01), (10.25, 0.01, 0.01))
    index = NodeIndex.of_mask(long, torch.ones(long.nodes, dtype=torch.bool))
    values = torch.full((long.nodes, 1), 5.0), torch.zeros(long.nodes, 3)
    rule = DensityRule(softplus=True, shift=-1.0)
    model = GridModel(index, *values, PlainShader(), rule, GridStep(0.005), Limits(alpha=1e-4))
    write_dvgo_checkpoint(tmp_path / "long.tar", model, DOMAIN, 1)
    report, _, _ = encoded([tmp_path / "long.tar", plain], tmp_path / "both.nscene", "fast")
    assert [failure.name for failure in report.failures] == ["long"]
    assert "(2050, 2, 2) nodes" in report.failures[0].reason
    assert len(report.objects) == 1


def test_values_that_no_step_can_count_are_refused(tmp_path):
    model = ball()
    wild = dataclasses.replace(model, features=model.features * 1e18)
    path = tmp_path / "wild.tar"
    write_dvgo_checkpoint(path, wild, DOMAIN, 1)
    with pytest.raises(UnsupportedSceneError, match="too large"):
        sections_of(path, settings_of("fast"))
