"""Smooth surfaces and their creases come back as they were coded, and are chosen where they pay."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_mesh_surface_quality import MESHES, POINTS, coded
from walked_surfaces import ball, fitted, holed, joined, marked, section_of, sheet, sound, steps_for, torus

from scene_codec.codecs.mesh_surface import surface_coding
from scene_codec.codecs.mesh_surface.decoder import SurfaceDecoder
from scene_codec.codecs.mesh_surface.feature_coding import code_features
from scene_codec.codecs.mesh_surface.prior import NEWEST_PRIOR, shipped_prior, surface_models
from scene_codec.codecs.mesh_surface.surface_coding import Form, code_fitted, levels_of, renumbered
from scene_codec.codecs.mesh_surface.syntax import SURFACE
from scene_codec.entropy.adaptive_bits import BitCounter, BitDecoder, BitEncoder
from scene_codec.geometry.loop_subdivision import SurfaceFeatures
from scene_codec.geometry.mesh_edges import MeshEdges
from scene_codec.geometry.scene_object import TriangleMesh
from scene_codec.progress import Progress

SHAPES = {
    "ball": ball(),
    "torus": torus(),
    "sheet": sheet(),
    "parts": sound(joined(sheet(3), torus(5, 4, 0.7), holed(ball(6, 5), 0.3))),
}


@pytest.fixture(autouse=True, scope="module")
def few_points():
    """Measure with fewer points than users do, for speed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(surface_coding, "MEASURED_POINTS", POINTS)
        patch.setattr(surface_coding, "_FITTED_POINTS", (POINTS, POINTS))
        yield


def random_features(mesh, share, seed):
    """Return features at random; vertices are corners only where two creases meet, as files can tell."""
    generator = np.random.default_rng(seed)
    edges = MeshEdges.of(mesh.faces)
    creases = edges.borders | (generator.random(len(edges)) < share)
    meeting = np.bincount(edges.ends[creases].reshape(-1), minlength=len(mesh.vertices))
    return SurfaceFeatures(creases, (meeting == 2) & (generator.random(len(meeting)) < 0.5))


@settings(max_examples=40, derandomize=True, deadline=None)
@given(st.sampled_from(sorted(SHAPES)), st.sampled_from([0.0, 0.1, 0.5, 1.0]), st.integers(0, 999))
def test_any_features_come_back(name, share, seed):
    mesh = SHAPES[name]
    wanted = random_features(mesh, share, seed)
    encoder = BitEncoder(shipped_prior(NEWEST_PRIOR))
    code_features(encoder, surface_models(), mesh, wanted)
    decoder = BitDecoder(encoder.finish(), shipped_prior(NEWEST_PRIOR))
    found = code_features(decoder, surface_models(), mesh)
    decoder.finish()
    np.testing.assert_array_equal(found.creases, wanted.creases)
    np.testing.assert_array_equal(found.corners, wanted.corners)


def test_no_features_cost_next_to_nothing():
    mesh = torus(20, 14)
    counter = BitCounter(shipped_prior(NEWEST_PRIOR))
    code_features(counter, surface_models(), mesh, SurfaceFeatures.none(MeshEdges.of(mesh.faces), 280))
    assert counter.bits < 0.1 * 840


@pytest.mark.parametrize("form", Form)
@pytest.mark.parametrize("name", SHAPES)
def test_the_encoder_knows_what_is_decoded(name, form):
    mesh = SHAPES[name]
    step = 2.0**-7
    features = marked(mesh) if form is Form.CREASED else None
    encoder = BitEncoder(shipped_prior(NEWEST_PRIOR))
    expected = code_fitted(fitted(mesh, form, features), steps_for(mesh, step), 0.0, encoder, Progress())
    found = SurfaceDecoder().decode({SURFACE: section_of(mesh, step, form)}, Progress())
    np.testing.assert_array_equal(found.faces, expected.faces)
    np.testing.assert_allclose(found.vertices, expected.vertices, atol=1e-6)
    assert len(found.faces) == len(mesh.faces) << 2 * levels_of(form, len(mesh.faces))


def test_features_follow_their_vertices_when_they_get_new_numbers():
    mesh = torus()
    order = np.random.default_rng(0).permutation(len(mesh.vertices))
    walked = np.argsort(order)[mesh.faces][::-1]
    features = marked(mesh)
    found = renumbered(features, mesh.faces, walked, order)
    old, new = MeshEdges.of(mesh.faces), MeshEdges.of(walked)
    pairs = {tuple(sorted(pair)) for pair in old.ends[features.creases].tolist()}
    assert {tuple(sorted(pair)) for pair in order[new.ends[found.creases]].tolist()} == pairs
    np.testing.assert_array_equal(found.corners, features.corners[order])


def dense_ball():
    """A ball of many triangles: smooth, and nothing that few of them could show as they are."""
    return TriangleMesh(ball(40, 30).vertices * 3.0 + 5.0, ball(40, 30).faces)


def test_a_ball_is_smooth_and_a_box_is_not():
    assert coded(dense_ball(), target_error=0.1)[1].fitted.form is not Form.FLAT
    decoded, candidate = coded(MESHES["box"])
    assert candidate.fitted.form is Form.FLAT
    assert len(decoded.faces) == 12


def test_a_smooth_ball_takes_half_the_bytes_of_a_flat_one(monkeypatch):
    smooth = coded(dense_ball(), target_error=0.05)[1]
    monkeypatch.setattr(surface_coding, "FORMS", (Form.FLAT,))
    flat = coded(dense_ball(), target_error=0.05)[1]
    assert smooth.size < 0.5 * flat.size


@pytest.mark.parametrize("budget", [4, 60, 500])
def test_a_budget_counts_the_triangles_that_come_back(budget):
    decoded, _ = coded(dense_ball(), target_error=0.05, faces=budget)
    assert len(decoded.faces) <= budget
