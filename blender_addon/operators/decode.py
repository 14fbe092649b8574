"""Decode `.nscene` files into the scene."""

import contextlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from bpy.props import CollectionProperty, IntProperty, StringProperty

from .. import backend_session, jobs, protocol
from ..array_files import ArrayFolder
from ..bridges import host_record
from ..bridges.host_record import HostRecord
from ..bridges.mesh_bridge import MeshArrays, check_arrays
from ..bridges.scene_writer import DecodedObject, SceneWriter
from ..bridges.volume_frames import collect_volumes, names_with_frames
from ..encode_report import failure_words
from ..output_files import PATH_OPTIONS, absolute, blender_path, check_readable
from ..preferences import cache_folder, chosen_device, locate_backend
from ..scene_properties import remember_result
from ..volume_folder import VolumeFolder
from .job_operator import JobOperator


@dataclass(frozen=True, kw_only=True)
class DecodeRequest:
    """What a decode job is asked to do. `only` empty: all objects. `triangles` 0: as many as there are.

    volume_folder : where the .vdb files of volumes go; None: a folder beside each file, named after it
    """

    filepaths: tuple[Path, ...]
    volume_folder: Path | None = None
    only: tuple[str, ...] = ()
    triangles: int = 0
    device: str = "auto"


def start_decode(request: DecodeRequest) -> jobs.Job:
    """Enter a decode job. Raises `jobs.JobFailedError` when a file cannot be read."""
    for path in request.filepaths:
        check_readable(path)
    title = "Decode " + ", ".join(path.name for path in request.filepaths)
    scene_name = bpy.context.scene.name
    return jobs.start("decode", title, lambda job: _decode_steps(job, request, scene_name))


def _decode_steps(job: jobs.Job, request: DecodeRequest, scene_name: str) -> jobs.Steps:
    failures: list[dict[str, str]] = []
    decoded: list[DecodedObject] = []
    with contextlib.ExitStack() as cleanup:
        folder = cleanup.enter_context(ArrayFolder(cache_folder()))
        for path in request.filepaths:
            volumes = VolumeFolder(request.volume_folder or path.with_name(f"{path.stem}_volumes"))
            cleanup.push(lambda *problem, made=volumes: made.discard() if problem[0] else made.close())
            params = {
                "file": str(path),
                "only": list(request.only) or None,
                "folder": str(folder.subfolder()),
                "volume_folder": str(volumes.staging),
                "device": request.device,
            }
            if request.triangles:
                params["triangles"] = request.triangles
            try:
                params["only"] = yield from _names_in_file(job, path, request.only)
                result = yield from backend_session.call(job, locate_backend, protocol.DECODE, params)
            except jobs.JobFailedError as failure:
                raise jobs.JobFailedError(f"{path.name}: {failure}") from failure
            failures.extend(result["failures"])
            meshes = [answer for answer in result["objects"] if "volume" not in answer]
            decoded += yield from _mesh_steps(job, meshes, folder, failures)
            stored = [answer for answer in result["objects"] if "volume" in answer]
            decoded += yield from _volume_steps(job, stored, volumes, failures)
        if not decoded:
            raise jobs.JobFailedError(f"Nothing could be decoded. {failure_words(failures)}".strip())
        names = yield from _write_steps(job, decoded, scene_name, failures)
        decoded.clear()  # lets go of the mapped files, which Windows could not delete otherwise
    job.result = {"objects": names, "failures": failures}


def _names_in_file(job: jobs.Job, path: Path, only: tuple[str, ...]) -> Any:  # noqa: ANN401
    """Return the names to ask the backend for, None for all: a sequence's name stands for its frames."""
    if not only:
        return None
    summary = yield from backend_session.call(job, locate_backend, protocol.INSPECT, {"file": str(path)})
    return names_with_frames(only, [stored["name"] for stored in summary["objects"]])


def _mesh_steps(
    job: jobs.Job, answers: list[dict[str, Any]], folder: ArrayFolder, failures: list[dict[str, str]]
) -> Any:  # noqa: ANN401 - steps, and the objects at the end
    decoded: list[DecodedObject] = []
    for answer in answers:
        yield jobs.Step.MORE
        job.check_cancelled()
        try:
            decoded.append(_decoded_mesh(answer, folder, decoded))
        except (ValueError, OSError) as problem:
            failures.append({"name": answer["name"], "reason": str(problem)})
    return decoded


def _volume_steps(
    job: jobs.Job, answers: list[dict[str, Any]], folder: VolumeFolder, failures: list[dict[str, str]]
) -> Any:  # noqa: ANN401 - steps, and the objects at the end
    """Bring the volumes' files to their place, one volume a step."""
    volumes, refused = collect_volumes(answers, folder.check_staged)
    failures.extend(refused)
    decoded = []
    for volume in volumes:
        job.report(1.0, f"Writing the files of {volume.name}")
        yield jobs.Step.MORE
        job.check_cancelled()
        if volume.folder:
            target = yield from folder.place_frames(volume.files, volume.folder)
            file = target / volume.first
        else:
            file = folder.place(volume.files[volume.first], volume.first)
        key = f"{file}\n{volume.record.volume.name if volume.record.volume else volume.name}"
        decoded.append(DecodedObject(volume.name, blender_path(file), volume.transform, volume.record, key))
    return decoded


def _write_steps(
    job: jobs.Job, decoded: list[DecodedObject], scene_name: str, failures: list[dict[str, str]]
) -> Any:  # noqa: ANN401 - steps, and the names at the end
    """Bring the objects into the scene; returns their names. Ended early, it leaves no trace of them."""
    writer = SceneWriter(scene_name, decoded)
    try:
        for count in writer.prepare():
            job.check_cancelled()
            job.report(count / len(decoded), f"Building {decoded[count - 1].name}")
            yield jobs.Step.MORE
        while bpy.context.mode != "OBJECT":
            # Objects made during another mode would not be part of that mode's undo steps.
            job.check_cancelled()
            job.report(1.0, "Decoded. Return to Object Mode to place the objects")
            yield jobs.Step.WAIT
        job.check_cancelled()
        names = writer.place()
    except ValueError as problem:
        writer.discard()
        raise jobs.JobFailedError(str(problem)) from problem
    except BaseException:
        writer.discard()
        raise
    failures.extend({"name": name, "reason": LOST_SHEAR} for name in writer.unsheared)
    return names


LOST_SHEAR = "It came back without the shear that its parent had given it, which is gone."


def _decoded_mesh(answer: dict[str, Any], folder: ArrayFolder, earlier: list[DecodedObject]) -> DecodedObject:
    """Return one object of the backend's answer, checked. Raises ValueError or OSError."""
    vertices, faces = folder.read(answer["vertices"]), folder.read(answer["faces"])
    check_arrays(vertices, faces)
    transform = host_record.matrix_values(answer["transform"])
    if transform is None:
        raise ValueError("Its transform is not 16 finite numbers.")
    record = host_record.parse(answer["host"])
    index = min(record.material_index, max(len(record.materials) - 1, 0))
    arrays = MeshArrays(vertices, faces, index, record.smooth)
    record = replace(record, material_index=index)
    key = next(
        (other.data_key for other in earlier if _share_mesh(record, arrays, other)), answer["vertices"]
    )
    return DecodedObject(answer["name"], arrays, transform, record, key)


def _share_mesh(record: HostRecord, arrays: MeshArrays, other: DecodedObject) -> bool:
    """Return whether two objects had one mesh between them: one name, and the same decoded numbers."""
    return (
        bool(record.mesh)
        and record.mesh == other.record.mesh
        and isinstance(other.content, MeshArrays)
        and np.array_equal(arrays.vertices, other.content.vertices)
        and np.array_equal(arrays.faces, other.content.faces)
    )


class SCENE_CODEC_OT_decode_file(JobOperator, bpy.types.Operator):
    """Bring the objects of an .nscene file back into the scene"""

    bl_idname = "scene_codec.decode_file"
    bl_label = "Decode File"
    bl_options = {"UNDO"}  # no REGISTER: redoing a decode to change a setting would freeze the window

    filepath: StringProperty(name="File", subtype="FILE_PATH", options={"SKIP_SAVE"} | PATH_OPTIONS)
    directory: StringProperty(subtype="DIR_PATH", options={"SKIP_SAVE", "HIDDEN"})
    files: CollectionProperty(type=bpy.types.OperatorFileListElement, options={"SKIP_SAVE", "HIDDEN"})
    volume_folder: StringProperty(
        name="Volume Folder",
        description="Where .vdb files go, if the file holds volumes; empty: a folder beside the file",
        subtype="DIR_PATH",
        options={"SKIP_SAVE"} | PATH_OPTIONS,
    )
    only: StringProperty(
        name="Only",
        description="Names of the objects to decode, one a line; empty: all",
        options={"SKIP_SAVE"},
    )

    triangles: IntProperty(
        name="Most Triangles",
        description="Meshes that have more are simplified to so many; 0: all as stored",
        default=0,
        min=0,
        options={"SKIP_SAVE"},
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs Object Mode, so that undo takes the import back."""
        if context.mode != "OBJECT":
            cls.poll_message_set("Return to Object Mode first.")
            return False
        return True

    def start_job(self, _context: bpy.types.Context) -> jobs.Job:
        """Enter the job for all files that were chosen or dropped."""
        if self.files and self.directory:
            paths = tuple(absolute(self.directory) / item.name for item in self.files)
        else:
            paths = (absolute(self.filepath),)
        only = tuple(filter(None, self.only.split("\n")))
        folder = absolute(self.volume_folder) if self.volume_folder else None
        return start_decode(
            DecodeRequest(
                filepaths=paths,
                volume_folder=folder,
                only=only,
                triangles=self.triangles,
                device=chosen_device(),
            )
        )

    def finish(self, context: bpy.types.Context, job: jobs.Job) -> None:
        """Tell how many objects came back, and which did not."""
        remember_result(context, job)
        count = len(job.result["objects"])
        self.report({"INFO"}, f"{job.title}: {count} object{'s' * (count != 1)}")
        if job.result["failures"]:
            self.report({"WARNING"}, f"Not decoded: {failure_words(job.result['failures'])}")


classes = (SCENE_CODEC_OT_decode_file,)
