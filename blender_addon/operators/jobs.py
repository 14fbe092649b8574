"""Watch and cancel jobs, show the log, stop the backend; end all when a file closes or Blender quits."""

import atexit
from pathlib import Path

import bpy
from bpy.app.handlers import persistent
from bpy.props import IntProperty

from .. import backend_session, jobs
from ..preferences import backend_log_path, locate_backend
from .estimate import forget_estimate
from .job_operator import JobOperator, redraw


class SCENE_CODEC_OT_cancel_job(bpy.types.Operator):
    """Stop this job. Nothing it has done is kept"""

    bl_idname = "scene_codec.cancel_job"
    bl_label = "Cancel Job"
    bl_options = {"INTERNAL"}

    job_id: IntProperty(options={"HIDDEN", "SKIP_SAVE"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Ask the job to stop; its own operator sees it through."""
        jobs.cancel(self.job_id)
        redraw(context)
        return {"FINISHED"}


class SCENE_CODEC_OT_clear_jobs(bpy.types.Operator):
    """Remove the finished jobs from the list"""

    bl_idname = "scene_codec.clear_jobs"
    bl_label = "Clear Finished Jobs"
    bl_options = {"INTERNAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Clear the list."""
        jobs.clear_finished()
        redraw(context)
        return {"FINISHED"}


class SCENE_CODEC_OT_list_presets(JobOperator, bpy.types.Operator):
    """Start the backend and ask it which presets it has"""

    bl_idname = "scene_codec.list_presets"
    bl_label = "List Presets"
    bl_options = {"INTERNAL"}

    def start_job(self, _context: bpy.types.Context) -> jobs.Job:
        """Enter a job that only greets the backend."""
        return jobs.start("greeting", "List the presets", _greet_steps)

    def finish(self, _context: bpy.types.Context, job: jobs.Job) -> None:
        """Tell their names."""
        self.report({"INFO"}, f"Presets: {', '.join(job.result['presets'])}")


def _greet_steps(job: jobs.Job) -> jobs.Steps:
    yield from backend_session.greet(job, locate_backend)
    job.result = {"presets": [name for codec in backend_session.known_codecs() for name in codec["presets"]]}


class SCENE_CODEC_OT_restart_backend(bpy.types.Operator):
    """Stop the backend, which frees its memory. The next job starts it again; running jobs fail"""

    bl_idname = "scene_codec.restart_backend"
    bl_label = "Stop Backend"

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """There has to be a backend to stop."""
        return backend_session.running_pid() is not None

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Stop it."""
        backend_session.close(grace_s=0.0)
        redraw(context)
        return {"FINISHED"}


class SCENE_CODEC_OT_show_log(bpy.types.Operator):
    """Open the backend's log as a text in the Text Editor"""

    bl_idname = "scene_codec.show_log"
    bl_label = "Show Backend Log"

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """There has to be a log."""
        if not backend_log_path().is_file():
            cls.poll_message_set("The backend has not been started yet.")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Load the end of the log into a text block, and show it in a window where there is one."""
        text = bpy.data.texts.get(LOG_TEXT) or bpy.data.texts.new(LOG_TEXT)
        text.clear()
        text.write(_tail(backend_log_path()))
        if not bpy.app.background:
            bpy.ops.wm.window_new()
            area = context.window_manager.windows[-1].screen.areas[0]
            area.type = "TEXT_EDITOR"
            area.spaces.active.text = text
        return {"FINISHED"}


LOG_TEXT = "Scene Codec Log"
LOG_TAIL_BYTES = 200_000


def _tail(path: Path) -> str:
    with path.open("rb") as log:
        log.seek(max(0, path.stat().st_size - LOG_TAIL_BYTES))
        return log.read(LOG_TAIL_BYTES).decode("utf-8", "replace")


@persistent
def _end_jobs_of_old_file(*_arguments: object) -> None:
    forget_estimate()
    _abandon_all("Ended, because another file was opened.")


def _abandon_all(reason: str) -> None:
    for job in jobs.active():
        jobs.abandon(job.id, reason)


def _quit() -> None:
    _abandon_all("Ended, because Blender quits.")
    backend_session.close(grace_s=0.5)


def register() -> None:
    """Watch for file loading and for the end of Blender."""
    bpy.app.handlers.load_pre.append(_end_jobs_of_old_file)
    atexit.register(_quit)


def unregister() -> None:
    """End all jobs and the backend, and stop watching."""
    _quit()
    atexit.unregister(_quit)
    bpy.app.handlers.load_pre.remove(_end_jobs_of_old_file)


classes = (
    SCENE_CODEC_OT_cancel_job,
    SCENE_CODEC_OT_clear_jobs,
    SCENE_CODEC_OT_list_presets,
    SCENE_CODEC_OT_restart_backend,
    SCENE_CODEC_OT_show_log,
)
