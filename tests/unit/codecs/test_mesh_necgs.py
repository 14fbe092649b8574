"""The NeCGS codec's own promises, beyond the contract of all codecs."""

import msgspec
import numpy as np
import pytest
import torch

import scene_codec
from scene_codec.bitstream import open_scene_file
from scene_codec.codecs.mesh_necgs import syntax
from scene_codec.codecs.mesh_necgs.codec import MeshNecgsCodec
from scene_codec.codecs.mesh_necgs.config import PRESETS, MeshNecgsSettings, settings_for
from scene_codec.codecs.mesh_necgs.model import SetModel, decoder_shape
from scene_codec.codecs.mesh_necgs.supervision import NearSurfaceSupervision, band_loss, make_supervision
from scene_codec.codecs.mesh_necgs.training import Schedule, Trainer
from scene_codec.errors import CorruptFileError, InvalidRequestError
from scene_codec.geometry.scene_object import SceneObject, TriangleMesh
from scene_codec.geometry.signed_distance import SurfaceDistance
from scene_codec.networks.decoder_shape import DecoderShape
from scene_codec.progress import Progress

TINY = MeshNecgsSettings(resolution=32, widths=(6, 5, 4), minimum_steps=30, epochs=1)


def sphere_grid(radius, resolution=32, channels=1):
    axis = np.linspace(-1, 1, resolution)
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
    distance = np.clip((np.sqrt(x * x + y * y + z * z) - radius) / (4 / (resolution - 1)), -1, 1)
    grid = np.zeros((*distance.shape, channels), dtype=np.float16)
    grid[..., 0] = distance
    return grid


def open_sheet():
    """Make a wavy sheet of 20 x 20 points."""
    x, y = np.meshgrid(np.linspace(-1, 1, 20), np.linspace(-1, 1, 20), indexing="ij")
    corners = np.stack([x, y, 0.2 * np.sin(2.0 * x)], axis=-1).reshape(-1, 3)
    first = (np.arange(19)[:, None] * 20 + np.arange(19)).ravel()
    triangles = [(first, first + 20, first + 1), (first + 20, first + 21, first + 1)]
    return TriangleMesh(corners, np.concatenate([np.stack(t, axis=-1) for t in triangles]).astype(np.int64))


def tetrahedron():
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=np.float64)
    return TriangleMesh(corners, np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], dtype=np.int64))


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_describes_a_network_that_files_allow(preset):
    settings = settings_for(preset)
    for count in (1, 10, 1000):
        shape = decoder_shape(settings, count)
        architecture = syntax.Architecture(
            resolution=shape.resolution,
            latent_channels=shape.latent_channels,
            widths=shape.widths,
            outputs=shape.outputs,
            pointwise_head=shape.pointwise_head,
            residual=shape.residual,
        )
        assert syntax.read_architecture(syntax.write_architecture(architecture)) == architecture


def test_paper_network_at_128_has_the_published_number_of_weights():
    shape = decoder_shape(settings_for("paper"), 500)
    # arXiv 2405.15034's released configuration: 1,468,548 parameters.
    assert sum(syntax.parameter_sizes(shape)) == 1_468_548


def test_parameter_sizes_are_those_of_the_network():
    generator = torch.Generator().manual_seed(0)
    for settings in (TINY, msgspec.structs.replace(TINY, head="convolution", deformation=True)):
        model = SetModel(decoder_shape(settings, 1), settings, [sphere_grid(0.5)], generator)
        sizes = [parameter.numel() for parameter in model.decoder.parameters()]
        assert sizes == syntax.parameter_sizes(model.decoder.shape)


@pytest.mark.parametrize(
    "change",
    [
        {"resolution": 100},
        {"widths": (4, 4)},
        {"widths": (4, 4, 4000)},
        {"widths": (1024, 1024, 1024)},
        {"outputs": 3},
        {"latent_channels": 0},
        {"resolution": 256, "widths": (8, 8, 8, 8, 8, 256)},
    ],
)
def test_impossible_networks_are_refused_before_anything_is_allocated(change):
    architecture = syntax.Architecture(
        resolution=32, latent_channels=4, widths=(6, 5, 4), outputs=1, pointwise_head=True, residual=True
    )
    hostile = syntax.write_architecture(msgspec.structs.replace(architecture, **change))
    with pytest.raises(CorruptFileError):
        syntax.read_architecture(hostile)


def test_settings_of_the_wrong_type_are_refused_with_their_name():
    codec = MeshNecgsCodec()
    with pytest.raises(InvalidRequestError, match="resolution"):
        codec.settings(None, {"resolution": 48})
    assert codec.settings("paper", {"resolution": 64}).resolution == 64


def test_band_loss_ignores_values_beyond_the_right_side_of_the_truncation():
    target = torch.tensor([1.0, -1.0, 0.25])
    assert float(band_loss(torch.tensor([3.0, -2.0, 0.25]), target)) == 0.0
    assert float(band_loss(torch.tensor([0.0, -2.0, 0.25]), target)) > 0.0


def test_something_grown_far_from_the_surface_is_watched():
    grids = [sphere_grid(0.3)]
    supervision = NearSurfaceSupervision(grids, torch.device("cpu"), torch.Generator().manual_seed(0))
    wrong = torch.from_numpy(grids[0].astype(np.float32)).permute(3, 0, 1, 2)[None].clone()
    wrong[0, 0, 2:4, 2:4, 2:4] = -1.0

    def decoder(latents, supports):
        if supports is None:
            return wrong
        return [torch.zeros(len(support.sites), 8, 1) for support in supports]

    for _ in range(16):
        supervision.distortion(decoder, torch.zeros(1, 4, 4, 4, 4), [0])
    grown = supervision.state()["0"]
    assert grown.nonzero().tolist() == [[1, 1, 1]]


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"quantiser": "fixed", "rate_weight": 0.0},
        {"latents": "encoded", "learning_rate": 5e-3},
        {"deformation": True},
        {"supervision": "dense", "head": "convolution", "feature_weight": 0.1},
        {"supervision": "dense", "head": "convolution", "ssim_weight": 0.0, "deformation": True},
    ],
)
def test_training_lowers_the_distortion_under_every_kind_of_settings(change):
    settings = msgspec.structs.replace(TINY, **{"learning_rate": 1e-2, "latent_rate": 1e-2, **change})
    channels = 4 if settings.deformation else 1
    grids = [sphere_grid(radius, channels=channels) for radius in (0.4, 0.8)]
    generator = torch.Generator().manual_seed(0)
    model = SetModel(decoder_shape(settings, 2), settings, grids, generator)
    supervision = make_supervision(grids, settings, torch.device("cpu"), generator)

    def distortion():
        with torch.no_grad():
            weights, _ = model.rounded_weights()
            latents = model.rounded_latents([0, 1]).values
            value = supervision.distortion(lambda *args: model.decode(weights, *args), latents, [0, 1])
        return float(value)

    before = distortion()
    steps = 200 if settings.latents == "encoded" else 60  # an encoder starts with arbitrary latents
    Trainer(model, supervision, settings, Schedule(2, 1, steps), generator).run(Progress())
    assert distortion() < 0.8 * before


def test_a_finished_decoder_is_left_alone_when_latents_are_added():
    generator = torch.Generator().manual_seed(0)
    grids = [sphere_grid(0.5)]
    model = SetModel(decoder_shape(TINY, 1), TINY, grids, generator)
    supervision = make_supervision(grids, TINY, torch.device("cpu"), generator)
    weights = {name: parameter.detach().clone() for name, parameter in model.decoder.named_parameters()}
    before = {name: value.clone() for name, value in weights.items()}
    latents = model.latents.detach().clone()
    Trainer(model, supervision, TINY, Schedule(1, 1, 5), generator, frozen_weights=weights).run(Progress())
    assert all(torch.equal(weights[name], before[name]) for name in before)
    assert not torch.equal(model.latents, latents)


def test_an_encoded_set_decodes_like_any_other(tmp_path):
    path = tmp_path / "encoded.nscene"
    settings = {"resolution": 32, "widths": [6, 5, 4], "minimum_steps": 40, "latents": "encoded"}
    scene_codec.encode(
        [SceneObject("one", tetrahedron())], path, codec="mesh-necgs", settings=settings, device="cpu"
    )
    (item,) = scene_codec.decode(path, device="cpu")
    assert len(item.mesh.faces) > 0


def test_every_surface_section_that_is_read_has_one_spelling(tmp_path):
    path = tmp_path / "one.nscene"
    settings = {"resolution": 32, "widths": [6, 5, 4], "minimum_steps": 30}
    scene_codec.encode(
        [SceneObject("one", tetrahedron())], path, codec="mesh-necgs", settings=settings, device="cpu"
    )
    with open_scene_file(path) as file:
        coding = syntax.read_latent_coding(file.read_shared(syntax.LATENT_CODING), 16)
        payload = file.read_object(0, syntax.SURFACE)
    surface = syntax.read_surface(payload, coding.tables)
    assert syntax.write_surface(surface, coding.tables) == payload
    for damaged in (*(payload[:length] for length in range(len(payload))), payload + b"\1"):
        try:
            other = syntax.read_surface(damaged, coding.tables)
        except CorruptFileError:
            continue
        # A shorter stream may be the one spelling of other latents; the container's checksum tells.
        assert syntax.write_surface(other, coding.tables) == damaged


def test_the_shape_of_a_decoder_counts_its_doublings():
    shape = DecoderShape(
        resolution=256, latent_channels=1, widths=(), outputs=1, pointwise_head=True, residual=True
    )
    assert shape.doublings == 6


def test_an_open_sheet_is_marked_and_comes_back_without_holes(tmp_path):
    path = tmp_path / "sheet.nscene"
    mesh = open_sheet()
    settings = {"resolution": 32, "widths": [8, 6, 4], "minimum_steps": 250}
    scene_codec.encode(
        [SceneObject("cloth", mesh)], path, codec="mesh-necgs", settings=settings, device="cpu"
    )
    with open_scene_file(path) as file:
        kinds = [section.kind for section in file.objects[0].sections]
        assert kinds == [syntax.SURFACE, syntax.INFLATED]
    (item,) = scene_codec.decode(path, device="cpu")
    size = np.ptp(mesh.vertices, axis=0).max()
    distances = SurfaceDistance(item.mesh).closest(mesh.vertices).distances
    assert distances.max() < 0.05 * size


def test_a_sheet_section_with_content_is_refused():
    with pytest.raises(CorruptFileError, match="not empty"):
        syntax.read_object({syntax.SURFACE: b"\0", syntax.INFLATED: b"x"}, ())


@pytest.mark.parametrize(
    ("preset", "overrides", "word"),
    [
        ("balanced", {"head": "convolution"}, "dense"),
        ("balanced", {"widths": (3,)}, "5 widths"),
        ("paper", {"supervision": "near-surface"}, "pointwise"),
        ("balanced", {"rate_weight": float("inf")}, "rate_weight"),
        ("balanced", {"rate_weight": float("nan")}, "rate_weight"),
    ],
)
def test_settings_that_cannot_work_are_refused_with_the_reason(preset, overrides, word):
    with pytest.raises(InvalidRequestError, match=word):
        MeshNecgsCodec().settings(preset, overrides)
