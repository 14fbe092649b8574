"""Install, repair and remove the backend's own Python environment, on the user's click only."""

from pathlib import Path

import bpy

from .. import backend_session, jobs
from ..backend_environment import remove_environments
from ..backend_process import BackendError
from ..environment_install import Installation, InstallRequest
from ..output_files import absolute
from ..preferences import addon_version, carried_package_folder, environment_folder, preferences
from .job_operator import JobOperator, redraw

JOB_KIND = "environment"


class SCENE_CODEC_OT_install_backend(JobOperator, bpy.types.Operator):
    """Make a Python environment for the backend and install it there. Nothing else is changed"""

    bl_idname = "scene_codec.install_backend"
    bl_label = "Install Backend"

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """One installation at a time."""
        if any(job.kind == JOB_KIND for job in jobs.active()):
            cls.poll_message_set("An installation is running.")
            return False
        return True

    def start_job(self, _context: bpy.types.Context) -> jobs.Job:
        """Enter the installation, as the preferences say."""
        request = _install_request()
        return jobs.start(JOB_KIND, "Install the backend", lambda job: _install_steps(job, request))

    def finish(self, _context: bpy.types.Context, _job: jobs.Job) -> None:
        """Tell that it is there."""
        self.report({"INFO"}, "The backend is installed.")


class SCENE_CODEC_OT_remove_backend(bpy.types.Operator):
    """Delete the backend's Python environment. It can be installed again"""

    bl_idname = "scene_codec.remove_backend"
    bl_label = "Remove Backend"

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Ask first: it may have been a long download."""
        return context.window_manager.invoke_confirm(self, event)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Stop the backend and delete its environment."""
        backend_session.close(grace_s=0.0)
        try:
            remove_environments(environment_folder())
        except BackendError as problem:
            self.report({"ERROR"}, str(problem))
            return {"CANCELLED"}
        redraw(context)
        return {"FINISHED"}


def _install_request() -> InstallRequest:
    prefs = preferences()
    return InstallRequest(
        folder=environment_folder(),
        wheel_folder=carried_package_folder(),
        addon_version=addon_version(),
        device=prefs.install_device.lower(),
        python=_given(prefs.base_python),
        offline_wheels=Path(_given(prefs.wheel_folder)) if prefs.wheel_folder else None,
        online=bpy.app.online_access,
    )


def _given(path: str) -> str | None:
    return str(absolute(path)) if path else None


def _install_steps(job: jobs.Job, request: InstallRequest) -> jobs.Steps:
    """Watch an installation, which works in a thread of its own, to its end."""
    installation = Installation(request)
    installation.start()
    try:
        while not installation.finished:
            job.log.extend(installation.poll())
            if job.cancelling:
                installation.cancel()
            else:
                job.message = installation.stage
            yield jobs.Step.WAIT
        job.log.extend(installation.poll())
    finally:
        if not installation.finished:
            installation.cancel()
    if installation.state == "cancelled":
        raise jobs.JobCancelledError
    if installation.error is not None:
        raise jobs.JobFailedError(str(installation.error))
    backend_session.close()  # the next job starts the new one


classes = (SCENE_CODEC_OT_install_backend, SCENE_CODEC_OT_remove_backend)
