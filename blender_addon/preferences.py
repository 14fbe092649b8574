"""The add-on's preferences: which Python runs the backend, on which device, and where files go."""

import os
import tomllib
from pathlib import Path

import bpy
from bpy.props import EnumProperty, StringProperty

from . import jobs
from .backend_environment import WHEEL_FOLDER, describe_environment, environment_python
from .backend_session import BackendLocation

ADDON_PACKAGE = __package__

PYTHON_VARIABLE = "SCENE_CODEC_BACKEND_PYTHON"
"""Environment variable that names the backend's Python, for development and tests; it wins."""


def addon_version() -> str:
    """Return the add-on's version, as written in the manifest."""
    manifest = Path(__file__).with_name("blender_manifest.toml")
    return tomllib.loads(manifest.read_text("utf-8"))["version"]


def preferences() -> "SCENE_CODEC_AP_preferences | None":
    """Return the add-on's preferences; None where it runs without being enabled, as from a checkout."""
    addon = bpy.context.preferences.addons.get(ADDON_PACKAGE)
    return addon.preferences if addon else None


def user_folder() -> Path:
    """Return the folder that belongs to the add-on, survives its updates and goes with its removal."""
    try:
        return Path(bpy.utils.extension_path_user(ADDON_PACKAGE, create=True))
    except ValueError:  # not installed as an extension, as from a checkout
        folder = Path(bpy.app.tempdir) / "scene_codec"
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def environment_folder() -> Path:
    """Return the folder of the backend's own Python environment."""
    prefs = preferences()
    chosen = prefs.environment_folder if prefs else ""
    return Path(bpy.path.abspath(chosen)) if chosen else user_folder() / "backend"


def carried_package_folder() -> Path:
    """Return the folder of the extension that holds the backend to install."""
    return Path(__file__).parent / WHEEL_FOLDER


def cache_folder() -> Path | None:
    """Return the folder for the arrays of running jobs; None for the system's temporary folder."""
    prefs = preferences()
    if prefs is None or not prefs.cache_folder:
        return Path(bpy.app.tempdir) if bpy.app.tempdir else None
    folder = Path(bpy.path.abspath(prefs.cache_folder))
    if not folder.is_dir():
        raise jobs.JobFailedError(
            f"The cache folder {folder} does not exist. Choose another in the preferences."
        )
    return folder


def chosen_device() -> str:
    """Return the device that jobs run on: auto, cpu or cuda."""
    prefs = preferences()
    return prefs.device.lower() if prefs else "auto"


def backend_log_path() -> Path:
    """Return the backend's log file."""
    return user_folder() / "backend.log"


def backend_python() -> str | None:
    """Return the Python that runs the backend, or None when none was installed or chosen."""
    if os.environ.get(PYTHON_VARIABLE):
        return os.environ[PYTHON_VARIABLE]
    prefs = preferences()
    if prefs is not None and prefs.backend_source == "CHOSEN":
        return bpy.path.abspath(prefs.python_path) or None
    python = environment_python(environment_folder())
    return str(python) if python is not None else None


def locate_backend() -> BackendLocation:
    """Return how to start the backend. Raises `jobs.JobFailedError` with what to do when there is none."""
    python = backend_python()
    if python is None:
        raise jobs.JobFailedError(
            "The backend is not installed. Open Edit > Preferences > Add-ons > Neural Scene Codec and "
            "install it, or choose a Python there that has the scene_codec package."
        )
    return BackendLocation(python, backend_log_path(), addon_version())


class SCENE_CODEC_AP_preferences(bpy.types.AddonPreferences):
    """Shown in Edit > Preferences > Add-ons > Neural Scene Codec."""

    bl_idname = ADDON_PACKAGE

    backend_source: EnumProperty(
        name="Backend",
        items=(
            ("OWN", "Installed Here", "The add-on's own Python environment, installed below"),
            ("CHOSEN", "Chosen Python", "A Python of yours that has the scene_codec package"),
        ),
        default="OWN",
    )
    python_path: StringProperty(
        name="Python",
        description="Python executable that has the scene_codec package",
        subtype="FILE_PATH",
    )
    device: EnumProperty(
        name="Device",
        items=(
            ("AUTO", "Automatic", "The graphics card where it can be used, else the processor"),
            ("CPU", "Processor", "Works everywhere"),
            ("CUDA", "Graphics Card (CUDA)", "Needs an NVIDIA card and a backend installed for it"),
        ),
        default="AUTO",
    )
    cache_folder: StringProperty(
        name="Cache Folder",
        description="Where the arrays of running jobs are kept; empty: Blender's temporary folder",
        subtype="DIR_PATH",
    )
    environment_folder: StringProperty(
        name="Install To",
        description="Folder of the backend's own environment (1 to 6 GB); empty: the add-on's user folder",
        subtype="DIR_PATH",
    )
    wheel_folder: StringProperty(
        name="Wheel Folder",
        description="Folder of Python wheels to install from without a network; empty: download",
        subtype="DIR_PATH",
    )

    install_device: EnumProperty(
        name="Install For",
        items=(
            ("CPU", "Processor", "0.2 GB to download, 1 GB on disk"),
            ("CUDA", "NVIDIA Graphics Card", "About 3 GB to download, 5.4 GB on disk"),
        ),
        default="CPU",
    )
    base_python: StringProperty(
        name="Made From Python",
        description="Python 3.11 or newer to make the environment from; empty: look for one",
        subtype="FILE_PATH",
    )

    def draw(self, _context: bpy.types.Context) -> None:
        """Draw the settings, and the state of the backend's environment below them."""
        layout = self.layout
        layout.use_property_split = True
        layout.prop(self, "device")
        layout.prop(self, "cache_folder")
        layout.prop(self, "backend_source", expand=True)
        if os.environ.get(PYTHON_VARIABLE):
            layout.label(text=f"{PYTHON_VARIABLE} is set and wins: {backend_python()}", icon="INFO")
        if self.backend_source == "CHOSEN":
            layout.prop(self, "python_path")
        else:
            layout.prop(self, "install_device", expand=True)
            layout.prop(self, "environment_folder")
            layout.prop(self, "wheel_folder")
            layout.prop(self, "base_python")
            _draw_environment(layout)
        row = layout.row()
        row.operator("scene_codec.show_log", icon="TEXT")
        row.operator("scene_codec.restart_backend", icon="QUIT")


STATE_ICONS = {"missing": "INFO", "ok": "CHECKMARK", "outdated": "ERROR", "broken": "ERROR"}
SHOWN_LOG_LINES = 8


def _draw_environment(layout: bpy.types.UILayout) -> None:
    """Draw what is installed, the buttons that fit, and the output of an installation."""
    described = describe_environment(environment_folder(), carried_package_folder())
    box = layout.box()
    box.label(text=described.text, icon=STATE_ICONS[described.state])
    if described.state != "missing":
        details = f"Python {described.python}, torch {described.torch}, {described.size_bytes / 1e9:.1f} GB"
        box.label(text=details)
        box.label(text=str(described.folder), icon="FILE_FOLDER")
    elif not bpy.app.online_access and preferences() and not preferences().wheel_folder:
        box.label(text="Blender may not use the network. Allow online access under System,", icon="INTERNET")
        box.label(text="or choose a wheel folder above.", icon="BLANK1")
    installations = [job for job in jobs.listed() if job.kind == "environment"]
    row = box.row()
    if installations and not installations[0].finished:
        row.label(text=installations[0].message, icon="TIME")
        row.operator("scene_codec.cancel_job", text="Cancel", icon="X").job_id = installations[0].id
    else:
        text = "Install Backend" if described.state == "missing" else "Repair Backend"
        row.operator("scene_codec.install_backend", text=text, icon="IMPORT")
        if described.state != "missing":
            row.operator("scene_codec.remove_backend", icon="TRASH")
    if installations:
        _draw_log(box, installations[0])


def _draw_log(box: bpy.types.UILayout, job: jobs.Job) -> None:
    column = box.column(align=True)
    column.scale_y = 0.7
    for line in list(job.log)[-SHOWN_LOG_LINES:]:
        column.label(text=line)
    if job.error:
        box.label(text=job.error, icon="ERROR")


def register() -> None:
    """Register the preferences."""
    bpy.utils.register_class(SCENE_CODEC_AP_preferences)


def unregister() -> None:
    """Undo `register`."""
    bpy.utils.unregister_class(SCENE_CODEC_AP_preferences)
