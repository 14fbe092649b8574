"""Tell what the selected objects will come to, before they are encoded."""

from dataclasses import dataclass, field
from typing import Any

import bpy
from bpy.props import BoolProperty

from .. import backend_session, jobs, protocol
from ..array_files import ArrayFolder
from ..encode_report import estimate_words, failure_words
from ..preferences import cache_folder, locate_backend
from ..scene_properties import remember_result
from .encode import NOTHING_SELECTED, EncodeRequest, MeshOperator, codec_params, read_steps
from .job_operator import JobOperator


@dataclass
class _Latest:
    """The newest estimate of this session, and what it was made for."""

    made_for: dict[str, Any] = field(default_factory=dict)
    result: dict[str, Any] = field(default_factory=dict)


_latest = _Latest()


def latest_estimate() -> dict[str, Any]:
    """Return the newest estimate; empty before there is one."""
    return _latest.result


def is_latest_for(count: int, settings: dict[str, Any]) -> bool:
    """Return whether the newest estimate was made for so many objects and these settings."""
    return _latest.made_for == {"count": count, **settings}


def forget_estimate() -> None:
    """Leave no estimate behind."""
    _latest.made_for, _latest.result = {}, {}


def start_estimate(request: EncodeRequest) -> jobs.Job:
    """Enter an estimate job; the request's file is of no meaning. Raises `jobs.JobFailedError`."""
    if not request.objects:
        raise jobs.JobFailedError(NOTHING_SELECTED["mesh"])
    scene_name = bpy.context.scene.name
    title = f"Estimate {len(request.objects)} object{'s' * (len(request.objects) != 1)}"
    return jobs.start("estimate", title, lambda job: _estimate_steps(job, request, scene_name))


def _estimate_steps(job: jobs.Job, request: EncodeRequest, scene_name: str) -> jobs.Steps:
    with ArrayFolder(cache_folder()) as folder:
        records, failures = yield from read_steps(job, request, scene_name, folder)
        params = {"objects": records, **codec_params(request)}
        job.report(0.0, "Sent to the backend")
        report = yield from backend_session.call(job, locate_backend, protocol.ESTIMATE, params)
    job.result = {**report, "failures": failures + report["failures"]}
    _latest.made_for, _latest.result = _made_for(request), job.result


def _made_for(request: EncodeRequest) -> dict[str, Any]:
    """Return what has to stay the same for an estimate to hold."""
    return {
        "count": len(request.objects),
        **codec_params(request),
        "apply_modifiers": request.apply_modifiers,
    }


class SCENE_CODEC_OT_estimate_selected(MeshOperator, JobOperator, bpy.types.Operator):
    """Tell about how many bytes and triangles the selected objects will come to. Nothing is written"""

    bl_idname = "scene_codec.estimate_selected"
    bl_label = "Estimate"
    bl_options = {"REGISTER"}
    if_nothing_selected = "Select the objects to estimate."

    apply_modifiers: BoolProperty(
        name="Apply Modifiers", description="Take the objects as seen in the viewport", default=True
    )

    def start_job(self, context: bpy.types.Context) -> jobs.Job:
        """Enter the job for the current selection."""
        return start_estimate(self.request(context))

    def finish(self, context: bpy.types.Context, job: jobs.Job) -> None:
        """Tell the sums, and what cannot be stored."""
        remember_result(context, job)
        self.report({"INFO"}, estimate_words(job.result))
        if job.result["failures"]:
            self.report({"WARNING"}, f"Cannot be stored: {failure_words(job.result['failures'])}")


classes = (SCENE_CODEC_OT_estimate_selected,)
