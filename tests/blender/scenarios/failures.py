"""Whatever goes wrong: the scene and the files are as before, the words say why, and the next job works."""

import os
import signal
from pathlib import Path

import bpy

from scenarios.laboratory import Laboratory, advance_until, delete, failure_of, files_in, snapshot


def _monkey_and_file(laboratory: Laboratory) -> tuple[bpy.types.Object, str]:
    bpy.ops.mesh.primitive_monkey_add(location=(1, 2, 3))
    obj = bpy.context.object
    return obj, laboratory.encode(obj, name="good.nscene")


def _encode_fails(laboratory: Laboratory, mode: str, words: str) -> None:
    obj, good = _monkey_and_file(laboratory)
    laboratory.use_fake_backend(mode)
    before, files = snapshot(), files_in(laboratory.folder)
    kept = Path(good).read_bytes()
    assert words in failure_of(bpy.ops.scene_codec.encode_selected, filepath=good)
    assert words in failure_of(bpy.ops.scene_codec.encode_selected, filepath=laboratory.path("new.nscene"))
    assert words in failure_of(bpy.ops.scene_codec.decode_file, filepath=good)
    assert snapshot() == before
    assert files_in(laboratory.folder) == files
    assert Path(good).read_bytes() == kept
    laboratory.use_fake_backend("well")
    delete(obj)
    laboratory.decode(good)
    assert len(bpy.data.objects) == 1


def a_backend_that_dies_in_a_job_changes_nothing(laboratory: Laboratory) -> None:
    _encode_fails(laboratory, "crash", "ended unexpectedly")


def a_backend_that_refuses_a_job_is_quoted(laboratory: Laboratory) -> None:
    _encode_fails(laboratory, "refuse", "This scene cannot be stored. Look at the log.")


def a_backend_that_talks_garbage_changes_nothing(laboratory: Laboratory) -> None:
    _encode_fails(laboratory, "garbage", "Segmentation fault is imminent")


def a_backend_of_another_version_is_refused(laboratory: Laboratory) -> None:
    _encode_fails(laboratory, "mismatch", "Repair the backend")


def a_backend_that_was_killed_is_started_again(laboratory: Laboratory) -> None:
    obj, good = _monkey_and_file(laboratory)
    running_pid = laboratory.part("backend_session").running_pid
    first = running_pid()
    _kill(first)
    while running_pid() is not None:
        pass  # the operating system takes its time to bury a process
    delete(obj)
    laboratory.decode(good)
    assert running_pid() not in {None, first}


def a_backend_killed_in_the_middle_of_a_decode_changes_nothing(laboratory: Laboratory) -> None:
    _, good = _monkey_and_file(laboratory)
    laboratory.use_fake_backend("slow")
    before = snapshot()
    jobs, job = laboratory.part("jobs"), _start_decode(laboratory, good)
    advance_until(jobs, job, lambda: job.fraction == 0.3)
    _kill(laboratory.part("backend_session").running_pid())
    advance_until(jobs, job, lambda: job.finished)
    assert job.state is jobs.JobState.FAILED
    assert "ended unexpectedly" in job.error
    assert snapshot() == before


def a_cancelled_encode_changes_nothing(laboratory: Laboratory) -> None:
    _monkey_and_file(laboratory)
    laboratory.use_fake_backend("slow")
    before, files = snapshot(), files_in(laboratory.folder)
    jobs, encode = laboratory.part("jobs"), laboratory.part("operators.encode")
    reference = laboratory.part("bridges.object_reader").reference_to(bpy.context.object)
    request = encode.EncodeRequest(objects=(reference,), filepath=Path(laboratory.path("new.nscene")))
    job = encode.start_encode(request)
    advance_until(jobs, job, lambda: job.fraction == 0.3)
    bpy.ops.scene_codec.cancel_job(job_id=job.id)
    advance_until(jobs, job, lambda: job.finished)
    assert job.state is jobs.JobState.CANCELLED
    assert snapshot() == before
    assert files_in(laboratory.folder) == files
    assert laboratory.part("backend_session").running_pid() is not None


def a_backend_that_ignores_a_cancellation_is_killed(laboratory: Laboratory) -> None:
    _, good = _monkey_and_file(laboratory)
    laboratory.use_fake_backend("deaf")
    session, jobs = laboratory.part("backend_session"), laboratory.part("jobs")
    session.CANCEL_GRACE_S = 0.0
    before, job = snapshot(), _start_decode(laboratory, good)
    advance_until(jobs, job, lambda: job.fraction == 0.3)
    jobs.cancel(job.id)
    advance_until(jobs, job, lambda: job.finished)
    assert job.state is jobs.JobState.CANCELLED
    assert snapshot() == before
    assert session.running_pid() is None


def a_decode_cancelled_while_objects_are_built_changes_nothing(laboratory: Laboratory) -> None:
    bpy.ops.mesh.primitive_monkey_add()
    first = bpy.context.object
    bpy.ops.mesh.primitive_cube_add()
    good = laboratory.encode(first, bpy.context.object)
    before = snapshot()
    jobs, job = laboratory.part("jobs"), _start_decode(laboratory, good)
    advance_until(jobs, job, lambda: job.message.startswith("Building"))
    assert len(bpy.data.meshes) == 3
    jobs.cancel(job.id)
    advance_until(jobs, job, lambda: job.finished)
    assert job.state is jobs.JobState.CANCELLED
    assert snapshot() == before


def opening_another_file_ends_the_jobs(laboratory: Laboratory) -> None:
    _, good = _monkey_and_file(laboratory)
    laboratory.use_fake_backend("slow")
    jobs, job = laboratory.part("jobs"), _start_decode(laboratory, good)
    advance_until(jobs, job, lambda: job.fraction == 0.3)
    bpy.ops.wm.read_homefile(use_empty=True)
    assert job.state is jobs.JobState.CANCELLED
    assert jobs.active() == []
    assert len(bpy.data.objects) == 0


def undo_while_objects_are_built_does_no_harm(laboratory: Laboratory) -> None:
    obj, good = _monkey_and_file(laboratory)
    delete(obj)
    bpy.ops.ed.undo_push(message="one")
    bpy.ops.mesh.primitive_cube_add()
    bpy.ops.ed.undo_push(message="two")
    jobs, job = laboratory.part("jobs"), _start_decode(laboratory, good)
    advance_until(jobs, job, lambda: job.message.startswith("Building"))
    bpy.ops.ed.undo()
    advance_until(jobs, job, lambda: job.finished)
    assert job.state is jobs.JobState.DONE, job.error
    assert bpy.data.objects.keys() == ["Suzanne"]
    assert len(bpy.data.objects["Suzanne"].data.polygons) > 900


def an_object_removed_before_its_turn_is_named(laboratory: Laboratory) -> None:
    bpy.ops.mesh.primitive_monkey_add()
    kept = bpy.context.object
    bpy.ops.mesh.primitive_cube_add()
    gone = bpy.context.object
    jobs, encode = laboratory.part("jobs"), laboratory.part("operators.encode")
    reference_to = laboratory.part("bridges.object_reader").reference_to
    objects = (reference_to(kept), reference_to(gone))
    request = encode.EncodeRequest(objects=objects, filepath=Path(laboratory.path("new.nscene")))
    job = encode.start_encode(request)
    delete(gone)
    advance_until(jobs, job, lambda: job.finished)
    assert [stored["name"] for stored in job.result["objects"]] == ["Suzanne"]
    assert job.result["failures"] == [{"name": "Cube", "reason": "It was removed before its turn came."}]


def a_damaged_file_is_refused_by_name(laboratory: Laboratory) -> None:
    _monkey_and_file(laboratory)
    bad = laboratory.path("bad.nscene")
    Path(bad).write_bytes(b"no scene")
    before = snapshot()
    assert "bad.nscene is damaged" in failure_of(bpy.ops.scene_codec.decode_file, filepath=bad)
    missing = laboratory.path("missing.nscene")
    assert "missing.nscene cannot be read" in failure_of(bpy.ops.scene_codec.decode_file, filepath=missing)
    assert "Choose a file" in failure_of(bpy.ops.scene_codec.decode_file, filepath="")
    assert snapshot() == before


def hostile_answers_are_refused_object_by_object(laboratory: Laboratory) -> None:
    obj, good = _monkey_and_file(laboratory)
    delete(obj)
    laboratory.use_fake_backend("hostile")
    laboratory.decode(good)
    result = bpy.context.window_manager.scene_codec_last_result
    for name in ("FarFace", "NotFinite", "WrongShape", "Outside", "BadTransform", "Lost"):
        assert f'"name": "{name}"' in result
    names = {"Suzanne", "BadHost", "NoHost", "Cycle", "Cycle too"}
    assert {obj.name for obj in bpy.data.objects} == names
    one, two = bpy.data.objects["Cycle"], bpy.data.objects["Cycle too"]
    assert {one.parent, two.parent} == {None, one} or {one.parent, two.parent} == {None, two}
    assert one["good"] == 1.5
    assert "big" not in one


def without_a_backend_the_words_say_what_to_do(laboratory: Laboratory) -> None:
    _monkey_and_file(laboratory)
    laboratory.kill_backend()
    encode, path = bpy.ops.scene_codec.encode_selected, laboratory.path("new.nscene")
    laboratory.use_python("")
    assert "Preferences" in failure_of(encode, filepath=path)
    laboratory.use_python(laboratory.path("no python here"))
    assert "could not be started" in failure_of(encode, filepath=path)


def an_unusable_output_is_refused_before_any_work(laboratory: Laboratory) -> None:
    _monkey_and_file(laboratory)
    laboratory.kill_backend()
    encode = bpy.ops.scene_codec.encode_selected
    Path(laboratory.path("file")).write_text("")
    assert "Nothing can be written" in failure_of(encode, filepath=laboratory.path("file/below.nscene"))
    assert "Nothing can be written" in failure_of(encode, filepath=laboratory.path("no folder/x.nscene"))
    Path(laboratory.path("folder.nscene")).mkdir()
    assert "is a folder" in failure_of(encode, filepath=laboratory.path("folder.nscene"))
    assert "never saved" in failure_of(encode, filepath="//beside.nscene")
    assert "not JSON" in failure_of(encode, filepath=laboratory.path("x.nscene"), settings="{")
    assert "JSON object" in failure_of(encode, filepath=laboratory.path("x.nscene"), settings="[1]")
    assert laboratory.part("backend_session").running_pid() is None


def objects_without_a_surface_are_named(laboratory: Laboratory) -> None:
    bpy.ops.object.light_add()
    light = bpy.context.object
    path = laboratory.path("none.nscene")
    words = failure_of(bpy.ops.scene_codec.encode_selected, filepath=path)
    assert "None of the objects could be stored. Point: A light has no surface." in words
    assert not Path(path).exists()
    bpy.ops.mesh.primitive_cube_add()
    cube = bpy.context.object
    empty = bpy.data.objects.new("NoFaces", bpy.data.meshes.new("NoFaces"))
    bpy.context.scene.collection.objects.link(empty)
    laboratory.encode(light, cube, empty)
    result = bpy.context.window_manager.scene_codec_last_result
    assert '{"name": "NoFaces", "reason": "It has no faces."}' in result
    for obj in bpy.context.selected_objects:
        obj.select_set(False)
    assert not bpy.ops.scene_codec.encode_selected.poll()


def no_array_files_are_left_behind(laboratory: Laboratory) -> None:
    obj, good = _monkey_and_file(laboratory)
    delete(obj)
    laboratory.decode(good)
    for mode in ("crash", "refuse"):
        laboratory.use_fake_backend(mode)
        failure_of(bpy.ops.scene_codec.decode_file, filepath=good)
    assert [path for path in Path(bpy.app.tempdir).rglob("*") if path.suffix == ".npy"] == []


def _start_decode(laboratory: Laboratory, path: str):
    decode = laboratory.part("operators.decode")
    return decode.start_decode(decode.DecodeRequest(filepaths=(Path(path),)))


def _kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
