"""What a user asks of mesh-surface is kept: an error, a size, a number of faces; and the file tells it."""

import msgspec
import numpy as np
import pytest
from walked_surfaces import ball, holed, joined, sheet, soup, torus

import scene_codec
from scene_codec.codecs.mesh_surface import surface_coding
from scene_codec.codecs.mesh_surface.config import DEFAULT_ERROR, PRESETS, MeshSurfaceSettings
from scene_codec.codecs.mesh_surface.decoder import SurfaceDecoder
from scene_codec.codecs.mesh_surface.encoder import encode_mesh
from scene_codec.codecs.mesh_surface.syntax import write_surface
from scene_codec.errors import Cancelled, InvalidRequestError
from scene_codec.geometry.face_normals import face_areas
from scene_codec.geometry.manifold_surface import is_closed, parts_of
from scene_codec.geometry.mesh_checks import prepare_mesh
from scene_codec.geometry.scene_object import SceneObject, TriangleMesh
from scene_codec.geometry.signed_distance import SurfaceDistance
from scene_codec.missed_targets import missed_targets
from scene_codec.progress import CancelToken, Progress

POINTS = 4000
CHANCE = 1.05
"""Means of distances at so many random points differ by a per cent or two from those at others."""


@pytest.fixture(autouse=True, scope="module")
def few_points():
    """Measure with fewer points than users do, for speed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(surface_coding, "MEASURED_POINTS", POINTS)
        patch.setattr(surface_coding, "_FITTED_POINTS", (POINTS, POINTS))
        yield


def box(size=1.0):
    corners = np.array(list(np.ndindex(2, 2, 2)), np.float64) * size
    sides = [[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1],
             [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]]  # fmt: skip
    return TriangleMesh(corners, np.array(sides))


def spread_out(mesh):
    """Return a mesh as it stands in a scene: large, far away, and not along the axes."""
    turn, _ = np.linalg.qr(np.random.default_rng(4).normal(size=(3, 3)))
    turn *= np.sign(np.linalg.det(turn))
    return TriangleMesh(37.0 * mesh.vertices @ turn.T + [900.0, -40.0, 3.0], mesh.faces)


MESHES = {
    "ball": spread_out(ball(10, 8)),
    "torus": spread_out(torus(10, 7)),
    "parts": spread_out(joined(sheet(4), torus(7, 5, 0.7))),
    "box": box(),
}


def coded(mesh, **settings):
    """Return what is decoded, and the candidate that was written."""
    prepared = prepare_mesh(mesh, "mesh")
    candidate = encode_mesh(prepared, MeshSurfaceSettings(**settings), Progress())
    sections = {section.kind: section.payload for section in write_surface(candidate.surface)}
    return SurfaceDecoder().decode(sections, Progress()), candidate


def percent_off(mesh, decoded):
    """Return the larger of both mean distances in percent of the diagonal, from points of this test alone."""
    generator = np.random.default_rng(99)
    means = []
    for here, there in ((mesh, decoded), (decoded, mesh)):
        corners = here.vertices[here.faces]
        areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
        picked = corners[generator.choice(len(areas), 4 * POINTS, p=areas / areas.sum())]
        points = np.einsum("nk,nkd->nd", generator.dirichlet(np.ones(3), 4 * POINTS), picked)
        means.append(SurfaceDistance(there).closest(points).distances.mean())
    return 100.0 * max(means) / np.linalg.norm(np.ptp(mesh.vertices, axis=0))


@pytest.fixture(scope="module", params=["torus", "parts"])
def original(request):
    return MESHES[request.param]


@pytest.fixture(scope="module")
def at_errors(original):
    return {wanted: coded(original, target_error=wanted, fit=2) for wanted in (1.2, 0.4)}


def test_a_wanted_error_is_kept(original, at_errors):
    for wanted, (decoded, candidate) in at_errors.items():
        error = percent_off(original, decoded)
        assert error <= CHANCE * wanted
        told = 100.0 * candidate.surface.error.value
        assert told == pytest.approx(error, rel=0.06)


def test_what_was_measured_is_what_is_decoded(original, at_errors):
    decoded, candidate = at_errors[0.4]
    points = decoded.vertices[decoded.faces].mean(axis=1)
    off = SurfaceDistance(original).closest(points).distances
    assert off.max() < 0.05 * np.ptp(original.vertices, axis=0).max()
    assert len(decoded.faces) == candidate.surface.faces << 2 * candidate.surface.levels


def test_corners_of_a_sheet_are_not_lost_for_a_small_mean():
    """Smooth surfaces round corners off, which hardly counts in a mean over a large sheet."""
    flat = sheet(40)
    along, across = flat.vertices[:, :2].T
    height = 0.25 * np.sin(2.5 * along) * np.cos(2.5 * across)
    wavy = TriangleMesh(np.stack([along, across, height], axis=1), flat.faces)
    decoded, candidate = coded(wavy, target_error=0.2)
    assert 100.0 * candidate.surface.error.value <= 0.2
    diagonal = np.linalg.norm(np.ptp(wavy.vertices, axis=0))
    off = SurfaceDistance(decoded).closest(wavy.vertices).distances / diagonal
    # Eight times the wanted error by area; borders have twice the vertices. It was 17 times by the mean.
    assert np.quantile(off, 0.99) < 12.0 * 0.002


def test_a_smaller_error_takes_more_bytes(original, at_errors):
    (coarse, small), (fine, large) = at_errors[1.2], at_errors[0.4]
    assert small.size < large.size
    assert percent_off(original, fine) < percent_off(original, coarse)


def test_closed_surfaces_come_back_closed_and_open_ones_open(original, at_errors):
    for decoded, candidate in at_errors.values():
        assert is_closed(decoded.faces) == candidate.surface.closed == is_closed(original.faces)
        assert len(np.unique(parts_of(decoded.faces))) == len(np.unique(parts_of(original.faces)))


@pytest.mark.parametrize("wanted", [64, 150, 5000])
@pytest.mark.parametrize("name", ["parts", "box"])
def test_a_wanted_size_is_kept(name, wanted):
    decoded, candidate = coded(MESHES[name], target_size=wanted, fit=2)
    assert len(write_surface(candidate.surface)[0].payload) == candidate.size <= wanted
    if wanted == 5000:
        # All faces fit, and steps finer than anybody sees.
        assert percent_off(MESHES[name], decoded) < 0.01


def test_more_bytes_bring_a_smaller_error():
    errors = [
        percent_off(MESHES["torus"], coded(MESHES["torus"], target_size=size, fit=1)[0]) for size in (80, 320)
    ]
    assert errors[1] < 0.5 * errors[0]


@pytest.mark.parametrize("faces", [20, 31])
@pytest.mark.parametrize("name", ["ball", "parts"])
def test_a_budget_of_faces_is_kept(name, faces):
    for settings in ({"target_error": 0.2}, {"target_size": 2000}):
        decoded, _ = coded(MESHES[name], faces=faces, fit=1, **settings)
        assert 1 <= len(decoded.faces) <= faces


def test_a_budget_that_parts_cannot_share_is_kept_by_opening_some():
    boxes = [box(0.1).vertices + np.array([0.2 * number, 0.0, 0.0]) for number in range(9)]
    many = joined(*[TriangleMesh(vertices, box().faces) for vertices in boxes])
    decoded, _ = coded(many, faces=34, fit=1)
    assert len(decoded.faces) <= 34


def written(mesh, tmp_path, **settings):
    return scene_codec.encode(
        [SceneObject("mesh", mesh)], tmp_path / "mesh.nscene", codec="mesh-surface", settings=settings
    )


def test_a_budget_too_small_for_all_parts_is_told(tmp_path):
    report = written(MESHES["ball"], tmp_path, faces=20)
    (item,) = report.objects
    (back,) = scene_codec.decode(tmp_path / "mesh.nscene")
    share = face_areas(back.mesh).sum() / face_areas(MESHES["ball"]).sum()
    np.testing.assert_allclose(item.area_left, share, rtol=1e-6)
    lost = msgspec.structs.replace(item, area_left=0.3)
    (line,) = missed_targets(msgspec.structs.replace(report, objects=(lost,)))
    assert "30 % of its area" in line
    assert "20 triangles" in line


@pytest.mark.parametrize("settings", [{"faces": 40}, {"target_error": 0.5}])
def test_a_surface_that_comes_back_whole_is_not_told(settings, tmp_path):
    report = written(MESHES["ball"], tmp_path, **settings)
    assert report.objects[0].area_left > 0.8
    assert missed_targets(report) == []


def test_a_budget_beyond_what_a_mesh_has_changes_nothing():
    plain, one = coded(sheet(3), target_error=1.0, fit=1)
    same, other = coded(sheet(3), target_error=1.0, fit=1, faces=200_000)
    assert one.surface == other.surface
    np.testing.assert_array_equal(plain.vertices, same.vertices)


def test_an_error_that_cannot_be_reached_gives_the_nearest_and_says_so():
    mesh = MESHES["ball"]
    wanted, budget = 0.01, 60
    decoded, candidate = coded(mesh, target_error=wanted, faces=budget, fit=1)
    error = percent_off(mesh, decoded)
    told = 100.0 * candidate.surface.error.value
    assert error > 10 * wanted
    assert told == pytest.approx(error, rel=0.06)
    # The budget is used: with half of it the surface stays further away.
    halved, _ = coded(mesh, target_error=wanted, faces=budget // 2, fit=1)
    assert error < percent_off(mesh, halved)


def test_a_mesh_of_few_faces_is_kept_as_it_is():
    """Errors of machine parts fall by leaps: a box is one with all its faces, and none with fewer."""
    decoded, candidate = coded(box(), target_error=DEFAULT_ERROR)
    assert len(decoded.faces) == 12
    assert percent_off(box(), decoded) <= CHANCE * DEFAULT_ERROR
    assert candidate.size < 100


@pytest.mark.parametrize("faces", [1, 2, 3])
def test_the_smallest_budgets_give_something(faces):
    decoded, _ = coded(sheet(2), faces=faces, fit=1)
    assert len(decoded.faces) >= 1


def test_meshes_with_faces_that_say_nothing_come_back_without():
    mesh = ball(8, 6)
    doubled = TriangleMesh(
        np.concatenate([mesh.vertices, mesh.vertices]),
        np.concatenate([mesh.faces, mesh.faces[:, [1, 2, 0]] + len(mesh.vertices)]),
    )
    decoded, _ = coded(doubled, target_error=0.05, fit=1)
    assert is_closed(decoded.faces)
    assert len(decoded.faces) <= len(mesh.faces)


def test_tatters_and_soup_are_coded_too():
    for mesh in (holed(torus(7, 5), 0.5), soup(20)):
        decoded, _ = coded(mesh, target_error=2.0, fit=1)
        assert percent_off(mesh, decoded) <= CHANCE * 2.0


def test_finer_presets_ask_for_smaller_errors():
    errors = {name: settings.target_error for name, (_, settings) in PRESETS.items()}
    assert errors["high"] < errors["balanced"] < errors["small"]
    assert errors["balanced"] == DEFAULT_ERROR


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"target_error": 0.1, "target_size": 1000}, "one"),
        ({"target_error": 0.0}, "target_error"),
        ({"target_size": 10}, "target_size"),
        ({"faces": 0}, "faces"),
        ({"in_plane": 9}, "in_plane"),
        ({"fit": -1}, "fit"),
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong, reason, tmp_path):
    target = tmp_path / "x.nscene"
    with pytest.raises(InvalidRequestError, match=reason):
        scene_codec.encode([SceneObject("box", box())], target, codec="mesh-surface", settings=wrong)
    assert not target.exists()


def test_inspect_tells_what_was_reached(tmp_path):
    target = tmp_path / "torus.nscene"
    scene_codec.encode(
        [SceneObject("torus", MESHES["torus"])],
        target,
        codec="mesh-surface",
        settings={"target_error": 1.0, "fit": 1},
    )
    (item,) = scene_codec.inspect(target).objects
    (surface,) = item.details["surface"]
    (decoded,) = scene_codec.decode(target)
    assert surface["faces"] == len(decoded.mesh.faces)
    assert surface["closed"] is True
    assert surface["step"] > 0.0
    error = percent_off(MESHES["torus"], decoded.mesh)
    assert surface["error_percent"] == pytest.approx(error, rel=0.06)


@pytest.mark.parametrize("settings", [{"target_error": 0.3}, {"target_size": 200}])
@pytest.mark.parametrize("after", [1, 3])
def test_a_search_ends_when_it_is_cancelled(settings, after):
    token, events = CancelToken(), []

    def listen(event):
        events.append(event.fraction)
        if len(events) >= after:
            token.cancel()

    with pytest.raises(Cancelled):
        encode_mesh(MESHES["ball"], MeshSurfaceSettings(fit=1, **settings), Progress(listen, token))
    assert len(events) == after
    assert events == sorted(events)
    assert all(fraction <= 1.0 for fraction in events)


def test_the_same_mesh_gives_the_same_bytes():
    first, second = (coded(sheet(4), target_error=1.0, fit=1)[1].surface for _ in range(2))
    assert write_surface(first) == write_surface(second)


def test_a_search_that_has_done_enough_takes_what_keeps_the_error(monkeypatch):
    tries = []
    once = surface_coding.SurfaceCoder.coded

    def counted(coder, fitted, step):
        tries.append(step)
        return once(coder, fitted, step)

    monkeypatch.setattr(surface_coding.SurfaceCoder, "coded", counted)
    found = {}
    for seconds in (surface_coding._SECONDS, 0.0):
        monkeypatch.setattr(surface_coding, "_SECONDS", seconds)
        tries.clear()
        _, candidate = coded(MESHES["torus"], target_error=0.2)
        assert 100.0 * candidate.surface.error.value <= 0.2
        found[seconds] = len(tries), candidate.size
    (many, patient), (few, hasty) = found.values()
    assert few < many
    assert patient < 1.05 * hasty < 2.0 * patient
