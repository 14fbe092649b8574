"""What `drive_panel.py` runs inside Blender: clicks, keys, looks, pictures. Not to be started by hand."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import bpy

MODULE = "bl_ext.user_default.scene_codec"
TAB = "Scene Codec"
PATIENCE_S = 1800.0
TICK_S = 0.05

Pauses = Iterator[float]


class Session:
    """One run through the panel; each step yields how many seconds Blender may go on by itself."""

    def __init__(self, plan: dict) -> None:
        self.plan = plan
        self.folder = Path(plan["folder"])
        self.passed: list[str] = []
        self.window = bpy.context.window_manager.windows[0]

    def part(self, name: str):  # noqa: ANN201 - a module of the installed add-on
        """Return one module of the add-on."""
        return importlib.import_module(f"{MODULE}.{name}")

    def steps(self) -> Pauses:
        """Go through everything once."""
        yield from self.set_up()
        yield from self.escape_cancels()
        yield from self.a_killed_backend_is_told()
        yield from self.encode_and_decode()
        yield from self.dropping_a_file_decodes_it()
        yield from self.volumes_go_the_same_way()
        yield from self.preferences_are_drawn()

    def set_up(self) -> Pauses:
        """Make a scene, open the sidebar with the N key and choose the tab."""
        self.use_backend(self.plan["backends"]["slow"])
        bpy.context.preferences.view.show_splash = False
        bpy.context.preferences.view.smooth_view = 0
        _make_scene()
        bpy.ops.wm.save_as_mainfile(filepath=str(self.folder / "scene.blend"))
        self.window = bpy.context.window_manager.windows[0]
        yield 1.0
        yield from self.press("ESC")  # closes the splash, if there is one
        yield from self.press("N", *self.middle_of(self.region("WINDOW")))
        assert self.region("UI").width > 1, "the N key opened no sidebar"
        self.region("UI").active_panel_category = TAB
        bpy.context.scene.scene_codec.output_path = "//scene.nscene"
        bpy.context.scene.scene_codec.input_path = "//scene.nscene"
        with self.over_viewport():
            bpy.ops.view3d.view_axis(type="FRONT")
            bpy.ops.view3d.view_all()
            bpy.ops.view3d.zoom(delta=-2)
        yield 1.0
        self.passed.append("the N key shows the tab")
        yield from self.picture("panel")

    def escape_cancels(self) -> Pauses:
        """Click Encode, watch the progress, work on meanwhile, press ESC."""
        before = sorted(self.folder.glob("*.nscene*"))
        yield from self.click("scene_codec.encode_selected")
        job = self.newest_job()
        yield from self.until(lambda: job.fraction == 0.3)
        longest = yield from self.longest_pause(2.0)
        yield from self.press("S", *self.middle_of(self.region("WINDOW")))
        yield from self.press("ESC")  # ends the scaling, not the job
        assert not job.finished
        text = f"a click on Encode starts a job; the window stays free (longest pause {longest:.2f} s)"
        self.passed.append(text)
        yield from self.picture("progress")
        yield from self.press("ESC")
        yield from self.until(lambda: job.finished)
        assert job.state is self.part("jobs").JobState.CANCELLED, job.state
        assert sorted(self.folder.glob("*.nscene*")) == before
        self.passed.append("ESC cancels the job and leaves no file")

    def a_killed_backend_is_told(self) -> Pauses:
        """Kill the backend in the middle of a job."""
        yield from self.click("scene_codec.encode_selected")
        job = self.newest_job()
        yield from self.until(lambda: job.fraction == 0.3)
        os.kill(self.part("backend_session").running_pid(), signal.SIGKILL)
        yield from self.until(lambda: job.finished)
        assert "ended unexpectedly" in job.error, job.error
        yield 1.0
        yield from self.picture("killed")
        yield from self.dismiss_popup()
        self.passed.append("a killed backend is told in words")

    def encode_and_decode(self) -> Pauses:
        """Encode by a click, delete, decode by a click, undo, redo."""
        self.use_backend(self.plan["real_backend"] or self.plan["backends"]["well"])
        bpy.context.scene.scene_codec.preset = "fast"
        self.add_settings()
        before = _places()
        yield from self.click("scene_codec.clear_jobs")
        yield from self.click("scene_codec.encode_selected")
        encode = self.newest_job()
        yield from self.until(lambda: encode.fraction > 0.4 or encode.finished)
        if not encode.finished:
            yield from self.picture("progress")
        yield from self.until(lambda: encode.finished)
        assert encode.state is self.part("jobs").JobState.DONE, encode.error
        yield 0.5
        yield from self.picture("encoded")
        with self.over_viewport():
            bpy.ops.object.delete()
        bpy.ops.ed.undo_push(message="Delete")
        left = set(bpy.data.objects.keys())
        yield 0.5
        yield from self.click("scene_codec.decode_file")
        decode = self.newest_job()
        yield from self.until(lambda: decode.finished)
        assert decode.state is self.part("jobs").JobState.DONE, decode.error
        yield 0.5
        _assert_same(before, _places())
        self.passed.append("objects are encoded, deleted and decoded by clicks")
        yield from self.picture("decoded")
        yield from self.undo()
        assert set(bpy.data.objects.keys()) == left, "one undo did not take the import back"
        yield from self.redo()
        _assert_same(before, _places())
        self.passed.append("one undo takes the import back")

    def dropping_a_file_decodes_it(self) -> Pauses:
        """Hand a file to the operator that Blender calls for a drop on the viewport."""
        count = len(bpy.data.objects)
        with self.over_viewport():
            bpy.ops.wm.drop_import_file(
                "INVOKE_DEFAULT", directory=str(self.folder), files=[{"name": "scene.nscene"}]
            )
        job = self.newest_job()
        yield from self.until(lambda: job.finished)
        assert len(bpy.data.objects) > count, job.error
        self.passed.append("a dropped file is decoded")
        yield from self.undo()

    def volumes_go_the_same_way(self) -> Pauses:
        """Encode a volume by a click, delete it, decode it by a click."""
        settings = bpy.context.scene.scene_codec
        settings.volumes.output_path = settings.input_path = "//smoke.nscene"
        settings.volumes.quality = "MAX_ERROR"
        _make_cloud()
        with self.over_viewport():
            bpy.ops.view3d.view_all()
        self.part("jobs").clear_finished()  # its button may be out of sight, below all the results
        self.area().tag_redraw()
        yield 1.0
        yield from self.open_volumes_panel()
        yield from self.click("scene_codec.encode_volumes")
        encode = self.newest_job()
        yield from self.until(lambda: encode.finished)
        assert encode.state is self.part("jobs").JobState.DONE, encode.error
        yield 2.0
        yield from self.picture("volumes")
        bpy.data.batch_remove(list(bpy.data.objects))
        yield from self.click("scene_codec.decode_file")
        decode = self.newest_job()
        yield from self.until(lambda: decode.finished)
        assert decode.state is self.part("jobs").JobState.DONE, decode.error
        cloud = bpy.data.objects["Cloud"]
        assert Path(bpy.path.abspath(cloud.data.filepath)).parent == self.folder / "smoke_volumes"
        yield 2.0
        yield from self.picture("volumes_decoded")
        self.passed.append("a volume is encoded, deleted and decoded by clicks")

    def preferences_are_drawn(self) -> Pauses:
        """Turn the viewport into the preferences, which have a window of their own otherwise."""
        os.environ.pop("SCENE_CODEC_BACKEND_PYTHON")
        bpy.context.preferences.active_section = "ADDONS"
        bpy.context.window_manager.addon_search = "Neural Scene"
        area = self.area()
        area.type = "PREFERENCES"
        yield 1.0
        bpy.ops.preferences.addon_expand(module=MODULE)
        area.tag_redraw()
        yield 2.0
        yield from self.picture("preferences", top=280)
        assert self.part("preferences").backend_python() is None
        self.passed.append("the preferences are drawn")

    def use_backend(self, python: str) -> None:
        """Let the next job start this backend."""
        self.part("backend_session").close(0.0)
        os.environ["SCENE_CODEC_BACKEND_PYTHON"] = python

    def add_settings(self) -> None:
        """Send the settings of the command line with encode jobs of meshes; the panel has presets only."""
        encode = self.part("operators.encode")
        without = encode._request_params
        added = {"settings": self.plan["settings"]} if self.plan["settings"] else {}
        encode._request_params = lambda request, records: {
            **without(request, records),
            **(added if request.content == "mesh" else {}),
        }

    def newest_job(self):  # noqa: ANN201 - a Job of the installed add-on
        """Return the job that was started last."""
        listed = self.part("jobs").listed()
        assert listed, "no job was started"
        return listed[0]

    def area(self) -> bpy.types.Area:
        """Return the 3D viewport."""
        return next(area for area in self.window.screen.areas if area.type == "VIEW_3D")

    def region(self, kind: str) -> bpy.types.Region:
        """Return a region of the 3D viewport."""
        return next(region for region in self.area().regions if region.type == kind)

    def over_viewport(self):  # noqa: ANN201 - Blender's own context manager
        """Return the context an operator gets that was called from the viewport."""
        return bpy.context.temp_override(window=self.window, area=self.area(), region=self.region("WINDOW"))

    @staticmethod
    def middle_of(region: bpy.types.Region) -> tuple[int, int]:
        """Return the middle of a region in the window."""
        return region.x + region.width // 2, region.y + region.height // 2

    def move(self, x: int, y: int) -> Pauses:
        """Move the mouse."""
        self.window.event_simulate(type="MOUSEMOVE", value="NOTHING", x=x, y=y)
        yield TICK_S

    def press(self, key: str, x: int | None = None, y: int | None = None, **held: bool) -> Pauses:
        """Press and release a key, after moving the mouse if a place is given."""
        if x is not None and y is not None:
            yield from self.move(x, y)
            self.mouse = (x, y)
        x, y = self.mouse if hasattr(self, "mouse") else self.middle_of(self.region("WINDOW"))
        for value in ("PRESS", "RELEASE"):
            self.window.event_simulate(type=key, value=value, x=x, y=y, **held)
            yield 4 * TICK_S

    def open_volumes_panel(self) -> Pauses:
        """Click on the header of the panel, which is the next thing below the button of the one before."""
        x, y = yield from self.find("scene_codec.encode_selected")
        for below in range(24, 60, 8):
            yield from self.press("LEFTMOUSE", x, y - below)
            yield 1.0
            with contextlib.suppress(AssertionError):
                yield from self.find("scene_codec.encode_volumes")
                return
        raise AssertionError("the panel for volumes could not be opened")

    def click(self, operator: str) -> Pauses:
        """Click the button of an operator in the sidebar."""
        yield from self.press("LEFTMOUSE", *(yield from self.find(operator)))
        yield 4 * TICK_S

    def find(self, operator: str):  # noqa: ANN201 - pauses, and the place at the end
        """Find the button of an operator in the sidebar by hovering, and return its place in the window."""
        region = self.region("UI")
        x, seen = region.x + region.width // 5, []
        for y in range(region.y + region.height - 10, region.y, -8):
            yield from self.move(x, y)
            seen.append(self.button_under_mouse())
            if seen[-1].startswith(f"bpy.ops.{operator}("):
                return x, y
        raise AssertionError(f"no button for {operator} in the sidebar, only {sorted({*seen})}")

    def button_under_mouse(self) -> str:
        """Return the Python command of the button under the mouse, as Ctrl+C would copy it."""
        bpy.context.window_manager.clipboard = ""
        override = {"window": self.window, "area": self.area(), "region": self.region("UI")}
        with bpy.context.temp_override(**override):
            if bpy.ops.ui.copy_python_command_button.poll():
                bpy.ops.ui.copy_python_command_button()
        return bpy.context.window_manager.clipboard

    def until(self, reached: Callable[[], bool]) -> Pauses:
        """Wait until something is so, or fail."""
        deadline = time.monotonic() + PATIENCE_S
        while not reached():
            assert time.monotonic() < deadline, "waited in vain"
            yield TICK_S

    def longest_pause(self, seconds: float) -> Iterator[float]:
        """Return the longest time between two ticks while waiting."""
        end, last, longest = time.monotonic() + seconds, time.monotonic(), 0.0
        while last < end:
            yield TICK_S
            now = time.monotonic()
            last, longest = now, max(longest, now - last)
        return longest

    def undo(self) -> Pauses:
        """Press Ctrl+Z over the viewport."""
        yield from self.press("Z", *self.middle_of(self.region("WINDOW")), ctrl=True)
        yield 1.0

    def redo(self) -> Pauses:
        """Press Ctrl+Shift+Z over the viewport."""
        yield from self.press("Z", *self.middle_of(self.region("WINDOW")), ctrl=True, shift=True)
        yield 1.0

    def dismiss_popup(self) -> Pauses:
        """Close an error message."""
        yield from self.press("ESC")
        yield from self.move(*self.middle_of(self.region("WINDOW")))
        yield 0.5

    def picture(self, name: str, top: int = 26) -> Pauses:
        """Take a picture of the screen below `top`; Blender's own are black under software OpenGL."""
        yield 0.5
        if self.plan["pictures"]:
            target = Path(self.plan["pictures"]) / f"{name}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            # The viewport and its sidebar in few colours: some 30 kB each.
            command = ["import", "-window", "root", "-crop", f"986x{760 - top}+0+{top}", "+repage"]
            command += ["+dither", "-colors", "48", "-strip", f"PNG8:{target}"]
            subprocess.run(command, check=True, timeout=60)


def _make_scene() -> None:
    """Three heads of different kinds, selected."""
    bpy.ops.object.select_all(action="SELECT")
    bpy.ops.object.delete()
    names = ("Suzanne", "Äffchen", "Torus")
    for index, name in enumerate(names):
        if name == "Torus":
            bpy.ops.mesh.primitive_torus_add(location=(3 * index - 3, 0, 0), rotation=(1, 0, 0))
        else:
            bpy.ops.mesh.primitive_monkey_add(location=(3 * index - 3, 0, 0))
            bpy.context.object.modifiers.new("Subdivision", "SUBSURF")
        bpy.context.object.name = name
    for obj in bpy.context.scene.objects:
        obj.select_set(True)


def _make_cloud() -> None:
    """Make a volume of a head by modifiers, alone in the scene and selected."""
    bpy.data.batch_remove(list(bpy.data.objects))
    bpy.ops.mesh.primitive_monkey_add()
    head = bpy.context.object
    head.hide_set(True)
    cloud = bpy.data.objects.new("Cloud", bpy.data.volumes.new("Cloud"))
    bpy.context.scene.collection.objects.link(cloud)
    source = cloud.modifiers.new("Mesh to Volume", "MESH_TO_VOLUME")
    source.object, source.density = head, 4.0
    displace = cloud.modifiers.new("Displace", "VOLUME_DISPLACE")
    displace.texture, displace.strength = bpy.data.textures.new("Clouds", "CLOUDS"), 0.6
    cloud.select_set(True)
    bpy.context.view_layer.objects.active = cloud


def _places() -> dict[str, list[float]]:
    return {obj.name: [value for row in obj.matrix_world for value in row] for obj in bpy.data.objects}


def _assert_same(before: dict[str, list[float]], after: dict[str, list[float]]) -> None:
    assert set(before) == set(after), (sorted(before), sorted(after))
    for name, values in before.items():
        error = max(abs(one - other) for one, other in zip(values, after[name], strict=True))
        assert error < 1e-5, (name, error)


def main() -> None:
    """Drive the steps from a timer, write the result, and quit."""
    plan = json.loads(sys.argv[sys.argv.index("--") + 1])
    session = Session(plan)
    steps = session.steps()

    def tick() -> float | None:
        error = ""
        try:
            return next(steps)
        except StopIteration:
            pass
        except BaseException:
            error = traceback.format_exc()
        result = {"passed": session.passed, "error": error}
        Path(plan["result"]).write_text(json.dumps(result), "utf-8")
        bpy.ops.wm.quit_blender()
        return None

    bpy.app.timers.register(tick, first_interval=2.0, persistent=True)


main()
