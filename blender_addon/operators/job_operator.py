"""The one way an operator runs a job: modal in a window, blocking in background and in scripts."""

from __future__ import annotations

import time

import bpy

from .. import jobs

TICK_S = 0.1
BUDGET_S = 0.01  # a frame at 60 per second, with room for drawing
BACKGROUND_PAUSE_S = 0.02


class JobOperator:
    """Mix-in for operators that run one job. They implement `start_job` and `finish`."""

    _job_id = 0
    _timer: bpy.types.Timer | None = None
    _seen: tuple[str, str, jobs.JobState] | None = None

    def start_job(self, context: bpy.types.Context) -> jobs.Job:
        """Enter the job into the table. Raises `jobs.JobFailedError` when it cannot even begin."""
        raise NotImplementedError

    def finish(self, context: bpy.types.Context, job: jobs.Job) -> None:
        """Tell the user how it went, once the job is done."""

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        """Run the job while the window stays free."""
        if bpy.app.background or context.window is None:
            return self.execute(context)
        try:
            self._job_id = self.start_job(context).id
        except jobs.JobFailedError as failure:
            self.report({"ERROR"}, str(failure))
            return {"CANCELLED"}
        self._timer = context.window_manager.event_timer_add(TICK_S, window=context.window)
        context.window_manager.modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Run the job to its end; a failure is reported as an error, which scripts see as RuntimeError."""
        try:
            job = self.start_job(context)
        except jobs.JobFailedError as failure:
            self.report({"ERROR"}, str(failure))
            return {"CANCELLED"}
        try:
            jobs.run_to_end(job, lambda: time.sleep(BACKGROUND_PAUSE_S))
        except KeyboardInterrupt:
            jobs.abandon(job.id, "Interrupted")
            raise
        return self._end(context, job)

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Advance the job at each tick of the timer; ESC cancels it."""
        job = jobs.find(self._job_id)
        if job is None or job.finished:  # ended elsewhere, for example by opening another file
            self._release(context)
            return {"CANCELLED"}
        if event.type == "ESC" and event.value == "PRESS":
            jobs.cancel(job.id)
            return {"RUNNING_MODAL"}
        if event.type != "TIMER":
            return {"PASS_THROUGH"}
        try:
            jobs.advance(job.id, BUDGET_S)
        except Exception:
            self._release(context)  # Blender ends an operator that raises, and would leave its timer behind
            raise
        self._show(context, job)
        if not job.finished:
            return {"PASS_THROUGH"}
        self._release(context)
        return self._end(context, job)

    def cancel(self, context: bpy.types.Context) -> None:
        """End the job; Blender calls this when it ends the operator itself."""
        jobs.abandon(self._job_id, "Cancelled by Blender")
        self._release(context)

    def _show(self, context: bpy.types.Context, job: jobs.Job) -> None:
        """Tell the status bar, and draw the job anew if it has changed: to draw each time costs a core."""
        text = f"{job.title}: {job.message} ({job.fraction:.0%})   ESC: cancel"
        context.workspace.status_text_set(text)  # each time, since other operators clear it when they end
        seen = (text, job.log[-1] if job.log else "", job.state)
        if seen != self._seen:
            self._seen = seen
            redraw(context)

    def _release(self, context: bpy.types.Context) -> None:
        if self._timer is not None:
            context.window_manager.event_timer_remove(self._timer)
            self._timer = None
        if context.workspace is not None:
            context.workspace.status_text_set(None)
        redraw(context)

    def _end(self, context: bpy.types.Context, job: jobs.Job) -> set[str]:
        if job.state is jobs.JobState.DONE:
            self.finish(context, job)
            return {"FINISHED"}
        if job.state is jobs.JobState.FAILED:
            self.report({"ERROR"}, job.error)
        else:
            self.report({"WARNING"}, f"{job.title}: cancelled. Nothing was changed.")
        return {"CANCELLED"}


def redraw(context: bpy.types.Context) -> None:
    """Redraw the places that show jobs: sidebars and preferences, not the 3D views beside them."""
    for window in context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "PREFERENCES":
                area.tag_redraw()
            elif area.type == "VIEW_3D":
                for region in area.regions:
                    if region.type == "UI":
                        region.tag_redraw()
