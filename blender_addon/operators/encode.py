"""Encode the selected objects with a surface into one `.nscene` file, and what all encode jobs share."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import bpy
from bpy.props import BoolProperty, StringProperty

from .. import backend_session, jobs, protocol
from ..array_files import ArrayFolder
from ..bridges.host_record import DataReference
from ..bridges.object_reader import UnreadableObjectError, reference_to
from ..bridges.scene_reader import SceneReader
from ..bridges.volume_reader import VolumeReader
from ..encode_report import encode_words, failure_words, joined_frames, source_sizes
from ..mesh_quality import MeshQuality, mesh_codec_settings
from ..output_files import PATH_OPTIONS, check_writable, with_suffix
from ..preferences import cache_folder, chosen_device, locate_backend
from ..scene_properties import remember_result
from .job_operator import JobOperator


@dataclass(frozen=True, kw_only=True)
class EncodeRequest:
    """What an encode job is asked to do; objects by name, since they may change before their turn comes.

    content : what is stored of the objects: a file holds one or the other
    folder : of .vdb files, stored instead of objects
    """

    objects: tuple[DataReference, ...]
    filepath: Path = Path()
    content: Literal["mesh", "volume"] = "mesh"
    folder: Path | None = None
    codec: str = ""
    preset: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    device: str = "auto"
    apply_modifiers: bool = True


SHOWN_MISSES = 3

NOTHING_SELECTED = {
    "mesh": "Select at least one object with a surface: a mesh, curve, text or metaball.",
    "volume": "Select at least one volume, or object whose modifiers make one, or fluid domain.",
}


def start_encode(request: EncodeRequest) -> jobs.Job:
    """Enter an encode job. Raises `jobs.JobFailedError` when there is nothing to encode or to write to."""
    if not request.objects and request.folder is None:
        raise jobs.JobFailedError(NOTHING_SELECTED[request.content])
    check_writable(request.filepath)
    scene_name = bpy.context.scene.name
    title = f"Encode {request.filepath.name}"
    return jobs.start("encode", title, lambda job: _encode_steps(job, request, scene_name))


def _encode_steps(job: jobs.Job, request: EncodeRequest, scene_name: str) -> jobs.Steps:
    with ArrayFolder(cache_folder()) as folder:
        records, failures = yield from read_steps(job, request, scene_name, folder)
        params = {
            "objects": records,
            "output": str(request.filepath),
            "device": request.device,
            **codec_params(request),
        }
        sizes = source_sizes(records)
        job.report(0.0, "Sent to the backend")
        report = yield from backend_session.call(job, locate_backend, protocol.ENCODE, params)
    failures.extend(report["failures"])
    if not report["objects"]:
        raise jobs.JobFailedError(f"None of the objects could be stored. {failure_words(failures)}")
    objects = joined_frames(report["objects"], records, sizes)
    job.result = {**report, "objects": objects, "failures": failures}


def read_steps(job: jobs.Job, request: EncodeRequest, scene_name: str, folder: ArrayFolder) -> Any:  # noqa: ANN401
    """Read the objects, a piece a step; returns what the backend is sent of each, and what has no surface.

    Raises `jobs.JobFailedError` when nothing is left.
    """
    records: list[dict[str, Any]] = []
    failures: list[dict[str, str]] = []
    sources = _sources(request, folder)
    for number, (name, source) in enumerate(sources):
        found: list[dict[str, Any]] = []
        try:
            while True:
                yield jobs.Step.MORE
                job.check_cancelled()
                if bpy.context.scene.name != scene_name:
                    raise jobs.JobFailedError("Another scene was opened while the objects were being read.")
                job.report(number / len(sources), f"Reading {name}")
                record = next(source, None)
                if record is None:
                    break
                found.append(record)
            records.extend(found)
        except UnreadableObjectError as problem:
            failures.append({"name": name, "reason": str(problem)})
    if not records:
        raise jobs.JobFailedError(f"None of the objects could be stored. {failure_words(failures)}")
    return records, failures


def _sources(request: EncodeRequest, folder: ArrayFolder) -> list[tuple[str, Iterator[dict[str, Any]]]]:
    """Return what is to be read, by name: nothing is read before it is asked for."""
    scene, modifiers = bpy.context.scene, request.apply_modifiers
    if request.content == "mesh":
        reader = SceneReader(scene, folder, apply_modifiers=modifiers)
        return [(reference.name, reader.read(reference)) for reference in request.objects]
    volumes = VolumeReader(scene, folder.path, apply_modifiers=modifiers)
    if request.folder is not None:
        return [(request.folder.name, volumes.read_folder(request.folder))]
    return [(reference.name, volumes.read(reference)) for reference in request.objects]


def codec_params(request: EncodeRequest) -> dict[str, Any]:
    """Return what a request says of the codec, without what it leaves to the backend."""
    said = {"codec": request.codec, "preset": request.preset, "settings": request.settings}
    return {name: value for name, value in said.items() if value}


class EncodeOperator(JobOperator):
    """Mix-in for operators that encode: all end alike."""

    def finish(self, context: bpy.types.Context, job: jobs.Job) -> None:
        """Tell the sizes, and what could not be stored."""
        remember_result(context, job)
        self.report({"INFO"}, f"{job.title}: {encode_words(job.result)}")
        for line in job.result["missed"][:SHOWN_MISSES]:
            self.report({"WARNING"}, line)
        if job.result["failures"]:
            self.report({"WARNING"}, f"Not stored: {failure_words(job.result['failures'])}")


class MeshOperator(MeshQuality):
    """Mix-in for operators on the selected objects with a surface: how they are to be stored.

    They set `if_nothing_selected`, and the property `apply_modifiers` in words of their own.
    """

    if_nothing_selected = ""

    codec: StringProperty(name="Codec", description="Empty: the method of the panel", options={"SKIP_SAVE"})
    preset: StringProperty(name="Preset", description="Empty: the preset of the panel", options={"SKIP_SAVE"})
    settings: StringProperty(
        name="Settings",
        description="JSON object with fields of the codec's configuration; they win over the quality",
        options={"SKIP_SAVE"},
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a selection; says so when there is none."""
        if not context.selected_objects:
            cls.poll_message_set(cls.if_nothing_selected)
            return False
        return True

    def request(self, context: bpy.types.Context) -> EncodeRequest:
        """Return what is asked for, without a file. Raises `jobs.JobFailedError` for wrong settings."""
        return EncodeRequest(
            objects=tuple(reference_to(obj) for obj in context.selected_objects),
            codec=self.codec or context.scene.scene_codec.codec,
            preset=self._preset(context),
            settings=mesh_codec_settings(self) | parse_settings(self.settings),
            apply_modifiers=self.apply_modifiers,
        )

    def _preset(self, context: bpy.types.Context) -> str:
        """Return the operator's preset, or that of the panel where no other quality was chosen."""
        if self.preset or self.quality != "PRESET":
            return self.preset
        return context.scene.scene_codec.preset


class SCENE_CODEC_OT_encode_selected(MeshOperator, EncodeOperator, bpy.types.Operator):
    """Store the selected objects in one small .nscene file"""

    bl_idname = "scene_codec.encode_selected"
    bl_label = "Encode Selected"
    bl_options = {"REGISTER"}
    if_nothing_selected = "Select the objects to encode."

    filepath: StringProperty(name="File", subtype="FILE_PATH", options={"SKIP_SAVE"} | PATH_OPTIONS)
    apply_modifiers: BoolProperty(
        name="Apply Modifiers", description="Store the objects as seen in the viewport", default=True
    )

    def start_job(self, context: bpy.types.Context) -> jobs.Job:
        """Enter the job for the current selection."""
        filepath = with_suffix(self.filepath)
        return start_encode(replace(self.request(context), filepath=filepath, device=chosen_device()))


def parse_settings(text: str) -> dict[str, Any]:
    """Return the JSON object in `text`, empty for no text. Raises `jobs.JobFailedError` for anything else."""
    try:
        settings = json.loads(text) if text.strip() else {}
    except ValueError as problem:
        raise jobs.JobFailedError(f"The settings are not JSON: {problem}") from problem
    if not isinstance(settings, dict):
        raise jobs.JobFailedError('The settings have to be a JSON object, for example {"resolution": 64}.')
    return settings


classes = (SCENE_CODEC_OT_encode_selected,)
