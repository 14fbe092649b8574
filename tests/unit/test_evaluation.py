import numpy as np
import pytest

from scene_codec import api
from scene_codec.errors import Cancelled, InvalidRequestError
from scene_codec.evaluation import evaluate
from scene_codec.geometry.mesh_files import save_scene_object
from scene_codec.geometry.scene_object import SceneObject, TriangleMesh
from scene_codec.progress import CancelToken, Progress
from scene_codec.reports import FileSummary, ObjectSummary

TETRAHEDRON = TriangleMesh(
    np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]),
    np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]]),
)


def moved(offset):
    return TriangleMesh(TETRAHEDRON.vertices + offset, TETRAHEDRON.faces)


@pytest.fixture
def file_with(monkeypatch):
    """Make the public API believe in a file of 1000 bytes that holds the given objects."""

    def install(objects):
        names = {item.name: item for item in objects}
        listed = tuple(
            ObjectSummary(name=name, bytes=50, sections=(), transform=(), host_bytes=0, instance_of=None)
            for name in names
        )
        summary = FileSummary(
            path="f",
            file_bytes=1000,
            container_version=1,
            codec="c",
            payload_version=1,
            header_bytes=1,
            shared=(),
            objects=listed,
        )
        monkeypatch.setattr(api, "inspect", lambda _file: summary)
        monkeypatch.setattr(
            api, "decode", lambda _file, only, device, failures: (names[name] for name in only)
        )

    return install


def write(folder, name, mesh=TETRAHEDRON, transform=None):
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    placed = SceneObject(path.stem, mesh) if transform is None else SceneObject(path.stem, mesh, transform)
    save_scene_object(placed, path)


def test_a_perfect_copy_has_no_error_and_the_right_sizes(file_with, tmp_path):
    write(tmp_path, "a.ply")
    file_with([SceneObject("a", TETRAHEDRON)])
    report = evaluate("f", tmp_path, samples=500)
    (item,) = report.objects
    assert item.error.decoded_to_reference_p99 < 1e-6
    assert item.error.reference_to_decoded_p99 < 1e-6
    assert item.binary_bytes == 12 * 4 + 12 * 4
    assert item.source_bytes == (tmp_path / "a.ply").stat().st_size
    assert report.ratio_to_binary == pytest.approx(96 / 1000)
    assert report.bytes_per_object == 1000
    assert report.median == report.mean


def test_a_shift_is_measured_in_the_frame_where_the_original_spans_two(file_with, tmp_path):
    write(tmp_path, "a.ply")
    file_with([SceneObject("a", moved([0.0, 0.0, 10.0]))])
    (item,) = evaluate("f", tmp_path, samples=500).objects
    # The original spans 1, so its frame doubles every length; the nearest points are 9 to 10 apart.
    assert 18.0 < item.error.decoded_to_reference_mean < 20.1


def test_placed_objects_are_compared_where_they_stand(file_with, tmp_path):
    placed = np.eye(4)
    placed[:3, 3] = 5.0
    write(tmp_path, "a.glb", transform=placed)
    file_with([SceneObject("a", moved(5.0))])
    (item,) = evaluate("f", tmp_path, samples=500).objects
    assert item.error.decoded_to_reference_p99 < 1e-5


def test_whatever_has_no_partner_is_named(file_with, tmp_path):
    write(tmp_path, "a.ply")
    write(tmp_path, "b.ply")
    file_with([SceneObject("a", TETRAHEDRON), SceneObject("c", TETRAHEDRON)])
    report = evaluate("f", tmp_path, samples=500)
    assert [item.name for item in report.objects] == ["a"]
    assert report.not_decoded == ("b",)
    assert report.without_reference == ("c",)


def test_an_empty_decoded_mesh_is_a_named_failure(file_with, tmp_path):
    write(tmp_path, "a.ply")
    file_with([SceneObject("a", TriangleMesh(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64)))])
    report = evaluate("f", tmp_path, samples=500)
    assert report.mean is None
    (failure,) = report.failures
    assert failure.name == "a"
    assert failure.reason


def test_a_damaged_reference_of_the_same_stem_takes_no_number(file_with, tmp_path):
    (tmp_path / "a.obj").write_text("v 0 0 0\n")
    write(tmp_path, "a.ply")
    file_with([SceneObject("a", TETRAHEDRON)])
    report = evaluate("f", tmp_path, samples=500)
    assert [item.reference for item in report.objects] == ["a.ply"]
    assert [failure.name for failure in report.failures] == ["a.obj"]


def test_more_objects_are_compared_in_processes_with_the_same_figures(file_with, tmp_path):
    names = [f"m{index}" for index in range(5)]
    for name in names:
        write(tmp_path, f"{name}.ply")
    file_with([SceneObject(name, moved(0.01)) for name in names])
    several = evaluate("f", tmp_path, samples=500, seed=3)
    file_with([SceneObject("m0", moved(0.01))])
    alone = evaluate("f", tmp_path / "m0.ply", samples=500, seed=3)
    assert [item.name for item in several.objects] == names
    assert all(item.error == alone.objects[0].error for item in several.objects)


def test_a_cancelled_evaluation_stops(file_with, tmp_path):
    write(tmp_path, "a.ply")
    file_with([SceneObject("a", TETRAHEDRON)])
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled):
        evaluate("f", tmp_path, samples=500, progress=Progress(cancel=token))


def test_a_missing_reference_is_refused(file_with, tmp_path):
    file_with([])
    with pytest.raises(InvalidRequestError, match="missing"):
        evaluate("f", tmp_path / "missing")
