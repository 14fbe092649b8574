"""Whatever goes wrong with volumes, the scene and the user's folders stay as they were."""

import json
from pathlib import Path

import bpy

from scenarios.laboratory import Laboratory, advance_until, delete, failure_of, files_in, snapshot
from scenarios.volume_scenes import add_sequence, add_volume, encode_volumes, last_result, make_samples


def one_undo_takes_the_import_back_and_a_second_one_finds_its_files(laboratory: Laboratory) -> None:
    obj, path, _ = _stored(laboratory)
    delete(obj)
    bpy.ops.ed.undo_push(message="before")
    laboratory.decode(path)
    files = files_in(laboratory.folder)
    assert bpy.data.objects.keys() == ["Wolke"]
    bpy.ops.ed.undo()
    assert len(bpy.data.objects) == len(bpy.data.volumes) == 0
    assert files_in(laboratory.folder) == files
    laboratory.decode(path)
    assert bpy.data.objects.keys() == ["Wolke"]
    assert files_in(laboratory.folder) == files


def files_of_others_are_never_overwritten(laboratory: Laboratory) -> None:
    _, path, samples = _stored(laboratory)
    single = encode_volumes(laboratory, add_volume(samples / "ball.vdb", "Kugel"), name="kugel.nscene")
    delete(*bpy.data.objects)
    target = Path(laboratory.path("ziel"))
    (target / "Wolke").mkdir(parents=True)
    for name in ("Wolke/puff_0002.vdb", "BALL.vdb", "ball (2).vdb"):
        (target / name).write_bytes(b"precious")
    for source in (path, single):
        laboratory.decode(source, volume_folder=str(target))
    for name in ("Wolke/puff_0002.vdb", "BALL.vdb", "ball (2).vdb"):
        assert (target / name).read_bytes() == b"precious"
    assert Path(bpy.data.objects["Wolke"].data.filepath).parent == target / "Wolke (2)"
    new = Path(bpy.data.objects["Kugel"].data.filepath)
    assert new.parent == target
    assert new.read_bytes() == (samples / "ball.vdb").read_bytes()
    assert len(files_in(target)) == 3 + 3 + 1


def failed_and_cancelled_decodes_leave_no_trace(laboratory: Laboratory) -> None:
    obj, path, _ = _stored(laboratory)
    delete(obj)
    before, files = snapshot(), files_in(laboratory.folder)
    for mode in ("crash", "refuse", "garbage"):
        laboratory.use_fake_backend(mode)
        known = {*files, *files_in(laboratory.folder)}
        failure_of(bpy.ops.scene_codec.decode_file, filepath=path)
        assert snapshot() == before
        assert set(files_in(laboratory.folder)) == known
        assert not Path(laboratory.path("szene 文_volumes")).exists()
    laboratory.use_fake_backend("well")
    files = files_in(laboratory.folder)
    jobs = laboratory.part("jobs")
    for reached in ("Writing the files", "Building"):
        job = _start_decode(laboratory, path)
        advance_until(jobs, job, lambda words=reached, job=job: job.message.startswith(words))
        jobs.cancel(job.id)
        advance_until(jobs, job, lambda job=job: job.finished)
        assert job.state is jobs.JobState.CANCELLED
        assert snapshot() == before
        assert files_in(laboratory.folder) == files
        assert not Path(laboratory.path("szene 文_volumes")).exists()


def another_file_opened_meanwhile_ends_the_decode_without_a_trace(laboratory: Laboratory) -> None:
    obj, path, _ = _stored(laboratory)
    delete(obj)
    jobs, job = laboratory.part("jobs"), _start_decode(laboratory, path)
    files = files_in(laboratory.folder)
    advance_until(jobs, job, lambda: job.message.startswith("Building"))
    assert files_in(laboratory.folder) != files
    bpy.ops.wm.read_homefile(use_empty=True)
    assert job.state is jobs.JobState.CANCELLED
    assert files_in(laboratory.folder) == files
    assert len(bpy.data.volumes) == 0


def a_cancelled_or_failed_encode_leaves_the_older_file(laboratory: Laboratory) -> None:
    obj, path, _ = _stored(laboratory)
    content, before = Path(path).read_bytes(), snapshot()
    laboratory.use_fake_backend("slow")
    encode, jobs = laboratory.part("operators.encode"), laboratory.part("jobs")
    reference = laboratory.part("bridges.object_reader").reference_to(obj)
    request = encode.EncodeRequest(objects=(reference,), filepath=Path(path), content="volume")
    for words in ("Reading", "step 3"):
        job = encode.start_encode(request)
        advance_until(jobs, job, lambda job=job, words=words: words in job.message)
        jobs.cancel(job.id)
        advance_until(jobs, job, lambda job=job: job.finished)
        assert job.state is jobs.JobState.CANCELLED
    laboratory.use_fake_backend("crash")
    assert "ended unexpectedly" in failure_of(encode_volumes, laboratory, obj)
    assert Path(path).read_bytes() == content
    assert snapshot() == before


def an_object_removed_while_its_frames_are_read_is_named(laboratory: Laboratory) -> None:
    obj, path, samples = _stored(laboratory)
    obj.modifiers.new("Displace", "VOLUME_DISPLACE")
    kept = add_volume(samples / "ball.vdb", "Kugel")
    bpy.context.view_layer.update()
    encode, jobs = laboratory.part("operators.encode"), laboratory.part("jobs")
    reference_to = laboratory.part("bridges.object_reader").reference_to
    request = encode.EncodeRequest(
        objects=(reference_to(obj), reference_to(kept)), filepath=Path(path), content="volume"
    )
    job = encode.start_encode(request)
    for _ in range(3):
        jobs.advance(job.id, 0.0)
    delete(obj)
    advance_until(jobs, job, lambda: job.finished)
    assert [stored["name"] for stored in job.result["objects"]] == ["Kugel"]
    assert job.result["failures"] == [{"name": "Wolke", "reason": "It was removed before its turn came."}]


def hostile_answers_write_nothing_outside_the_folder(laboratory: Laboratory) -> None:
    obj, path, _ = _stored(laboratory)
    delete(obj)
    laboratory.use_fake_backend("hostile")
    files = set(files_in(laboratory.folder))
    laboratory.decode(path, volume_folder=laboratory.path("ziel/innen"))
    failed = {failure["name"] for failure in last_result()["failures"]}
    assert failed == {"Outside", "Missing", "BadTransform", "Twice"}
    made = set(files_in(laboratory.folder)) - files
    assert made == {str(Path("ziel/innen") / name) for name in ("up.vdb", ".._..__con.vdb")}, made
    wild = bpy.data.objects["Wild"].data
    assert (wild.frame_start, wild.display.density, wild.render.space) == (1, 1.0, "OBJECT")
    assert not wild.is_sequence


def numbered_volumes_of_elsewhere_come_back_as_one_sequence(laboratory: Laboratory) -> None:
    obj, path, samples = _stored(laboratory)
    delete(obj)
    session, protocol = laboratory.part("backend_session"), laboratory.part("protocol")
    locate = laboratory.part("preferences").locate_backend
    names = ("Feuer_08", "Feuer_09", "Feuer_11", "Feuer 2", "Feuer 3")
    plain = {"volume": str(samples / "ball.vdb"), "transform": [float(n % 5 == 0) for n in range(16)]}
    objects = [{"name": name, **plain, "host": {}} for name in names]
    params = {"objects": objects, "output": path}

    def steps(job):
        yield from session.call(job, locate, protocol.ENCODE, params)

    jobs = laboratory.part("jobs")
    jobs.run_to_end(jobs.start("test", "test", steps), lambda: None)
    laboratory.decode(path)
    assert set(bpy.data.objects.keys()) == {"Feuer", "Feuer 2", "Feuer 3"}
    data = bpy.data.objects["Feuer"].data
    assert (data.frame_start, data.frame_duration, data.frame_offset) == (8, 4, 7)
    folder = Path(laboratory.path("szene 文_volumes"))
    assert "Feuer_11.vdb" in {path.name for path in (folder / "Feuer").iterdir()}
    assert json.dumps(last_result()["failures"]) == "[]"


def _stored(laboratory: Laboratory) -> tuple[bpy.types.Object, str, Path]:
    """Return a sequence, the file it is stored in, and the folder of the samples."""
    samples = make_samples(laboratory)
    obj = add_sequence(samples / "cache", "Wolke", first=1, count=3, start=1)
    return obj, encode_volumes(laboratory, obj), samples


def _start_decode(laboratory: Laboratory, path: str):
    decode = laboratory.part("operators.decode")
    return decode.start_decode(decode.DecodeRequest(filepaths=(Path(path),)))
