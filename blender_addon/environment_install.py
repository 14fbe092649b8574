"""Makes the backend's own Python environment in the background. No bpy, standard library only.

The environment is made under a temporary name, checked by a real handshake with the backend in it, and only
then given its final name; whatever fails or is cancelled on the way leaves things as they were.

    installation = Installation(request)
    installation.start()
    ... every timer tick: show installation.poll(), installation.stage; until installation.finished
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
import queue
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from .backend_client import BackendClient
from .backend_environment import (
    RECORD_NAME,
    TEMPORARY_SUFFIX,
    BackendPackage,
    find_package,
    folder_size,
    python_inside,
    remove_environments,
)
from .backend_process import (
    BackendError,
    clean_environment,
    kill_group,
    separate_process_options,
    service_command,
)
from .python_search import FoundPython, find_python, find_uv

Device = Literal["cpu", "cuda"]

NEEDED_BYTES: dict[str, int] = {"cpu": 1_500_000_000, "cuda": 8_000_000_000}
"""Free disk space asked for: PyTorch for the CPU takes 1.0 GB installed, with CUDA's libraries 5.4 GB, plus
downloads in passing."""

TORCH_INDEXES: dict[str, str] = {
    "cpu": "https://download.pytorch.org/whl/cpu",
    "cuda": "https://download.pytorch.org/whl/cu130",
}
TORCH_INDEX_VARIABLE = "SCENE_CODEC_TORCH_INDEX"
"""Environment variable that names another package index for PyTorch, such as a mirror."""

WINDOWS_PATH_LIMIT = 260
LONGEST_INNER_PATH = 170
"""Characters below the folder: `env-<recipe>.tmp/Lib/site-packages/` and the longest path in PyTorch."""

HANDSHAKE_TIMEOUT_S = 300.0
"""The first start reads a gigabyte from a cold disk, with a virus scanner looking on."""


@dataclass(frozen=True)
class InstallRequest:
    """What to install, and from where.

    folder : where the environments lie; made if missing
    wheel_folder : the extension's `backend_wheel` folder
    addon_version : for the handshake
    device : which build of PyTorch, "cpu" or "cuda"
    python : interpreter that the user chose, None to look for one
    offline_wheels : folder of wheels to install from instead of the network
    online : whether the host allows network access (`bpy.app.online_access`)
    """

    folder: Path
    wheel_folder: Path
    addon_version: str
    device: Device = "cpu"
    python: str | None = None
    offline_wheels: Path | None = None
    online: bool = False


class _Cancelled(Exception):  # noqa: N818 - a state the user asked for, not a failure
    """The user stopped the installation."""


class Installation:
    """One installation: `start` it, `poll` it, maybe `cancel` it.

    stage : what is being done, in words
    state : "running", then "done", "failed" or "cancelled"
    error : why it failed
    """

    def __init__(self, request: InstallRequest) -> None:
        self.request = request
        self.stage = "Waiting"
        self.state: Literal["running", "done", "failed", "cancelled"] = "running"
        self.error: BackendError | None = None
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._cancelled = threading.Event()
        self._lock = threading.Lock()
        self._stop_child: Callable[[], None] | None = None
        self._thread = threading.Thread(target=self._run, name="backend-installation", daemon=True)

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread.start()

    @property
    def finished(self) -> bool:
        """Whether it has ended, one way or another."""
        return self.state != "running"

    def poll(self) -> list[str]:
        """Return the lines of output that came since the last call; never blocks."""
        lines = []
        with contextlib.suppress(queue.Empty):
            while True:
                lines.append(self._lines.get_nowait())
        return lines

    def cancel(self) -> None:
        """Stop it; what was made so far is removed, which `finished` tells."""
        with self._lock:
            self._cancelled.set()
            if self._stop_child is not None:
                self._stop_child()

    def wait(self, timeout_s: float | None = None) -> None:
        """Wait for the end, for use without a window."""
        self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            self._install()
            self.stage, self.state = "The backend is installed", "done"
        except _Cancelled:
            self.stage, self.state = "Cancelled; nothing was changed", "cancelled"
        except BackendError as problem:
            self._fail(problem)
        except OSError as problem:
            self._fail(BackendError("disk", f"The system refused: {problem}."))
        except Exception as problem:  # a thread has nobody else to tell
            self._fail(BackendError("internal-error", f"{type(problem).__name__}: {problem}."))

    def _fail(self, problem: BackendError) -> None:
        self._lines.put(str(problem))
        self.error, self.stage, self.state = problem, "The installation failed", "failed"

    def _install(self) -> None:
        request = self.request
        package = find_package(request.wheel_folder)
        self._check_source()
        self._check_folder()
        self._enter("Looking for a Python")
        uv = find_uv()
        python = find_python(request.python)
        if uv is None and not python.can_make_environments:
            text = f"{python.path} lacks the modules venv and ensurepip."
            raise BackendError("no-python", text, "On Debian and Ubuntu: sudo apt install python3-venv")
        self._lines.put(f"Python {'.'.join(map(str, python.version))}: {python.path}")
        recipe = package.recipe(request.device)
        final = request.folder / f"env-{recipe}"
        temporary = final.with_name(final.name + TEMPORARY_SUFFIX)
        _remove(temporary)
        try:
            self._make_environment(temporary, python, uv)
            self._install_packages(temporary, package, uv)
            hello = self._shake_hands(temporary)
            self._write_record(temporary, recipe, hello)
            self._enter("Putting it in place")
            _swap(temporary, final)
        finally:
            _remove(temporary)
        with contextlib.suppress(BackendError):  # an old one in use is removed by the next installation
            remove_environments(request.folder, keep=final)

    def _check_source(self) -> None:
        wheels = self.request.offline_wheels
        if wheels is not None:
            if not any(wheels.glob("*.whl")):
                text = f"There are no wheels (*.whl) in {wheels}."
                raise BackendError("no-wheels", text, "Choose another folder.")
        elif not self.request.online:
            raise BackendError(
                "offline",
                "Blender may not use the network, and the backend has to be downloaded (0.2 GB for the CPU).",
                "Allow online access in Blender's preferences under System, or choose a folder of wheels.",
            )

    def _check_folder(self) -> None:
        self.request.folder.mkdir(parents=True, exist_ok=True)
        check_path_length(self.request.folder)
        free = shutil.disk_usage(self.request.folder).free
        needed = NEEDED_BYTES[self.request.device]
        if free < needed:
            text = f"{self.request.folder} has {free / 1e9:.1f} GB free, {needed / 1e9:.1f} GB are needed."
            raise BackendError("disk-full", text, "Make room, or choose another folder in the preferences.")

    def _make_environment(self, environment: Path, python: FoundPython, uv: str | None) -> None:
        self._enter("Making the environment")
        if uv is not None:
            self._call([uv, "venv", "--python", python.path, str(environment)])
        else:
            self._call([python.path, "-I", "-m", "venv", str(environment)])

    def _install_packages(self, environment: Path, package: BackendPackage, uv: str | None) -> None:
        python = str(python_inside(environment))
        if uv is not None:
            install = [uv, "pip", "install", "--python", python, "--only-binary", ":all:"]
        else:
            install = [
                python,
                "-I",
                "-m",
                "pip",
                "install",
                "--only-binary",
                ":all:",
                "--progress-bar",
                "off",
            ]
            install += ["--disable-pip-version-check", "--no-warn-script-location"]
        # The pins are constraints: they fix versions, the wheel itself says what is needed.
        pins = ["-c", str(package.requirements)]
        offline = self.request.offline_wheels
        if offline is not None:
            source = ["--no-index", "--find-links", str(offline)]
        else:
            source = []
            index = torch_index(self.request.device)
            if index is not None:
                # Alone and first: the index of a device has that device's build and little else.
                self._enter("Downloading and installing PyTorch, the largest part")
                self._call([*install, "--no-deps", *pins, "--index-url", index, "torch"])
        self._enter("Installing the backend and what it needs")
        self._call([*install, *source, *pins, str(package.wheel)])

    def _shake_hands(self, environment: Path) -> dict[str, Any]:
        self._enter("Starting the backend to check it")
        log = self.request.folder / "installation-check.log"
        client = BackendClient.start(
            service_command(python_inside(environment), log), log, self.request.addon_version
        )
        try:
            self._watch(client.kill)
            return client.wait_until_ready(HANDSHAKE_TIMEOUT_S)
        except BackendError:
            self._check_cancelled()
            raise
        finally:
            self._watch(None)
            client.close()

    def _write_record(self, environment: Path, recipe: str, hello: dict[str, Any]) -> None:
        self._check_cancelled()
        record = {key: str(hello.get(key, "")) for key in ("python", "torch", "version")}
        record |= {"device": self.request.device, "recipe": recipe, "size_bytes": folder_size(environment)}
        (environment / RECORD_NAME).write_text(json.dumps(record, indent=1), "utf-8")

    def _call(self, command: list[str]) -> None:
        """Run a command, pass its output on line by line, and raise if it fails."""
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self.request.folder,  # not a project folder whose settings would be obeyed
            env=clean_environment(),
            **separate_process_options(),
        )
        lines: collections.deque[str] = collections.deque(maxlen=50)
        try:
            self._watch(lambda: kill_group(process))
            assert process.stdout is not None
            with process.stdout:
                for line in process.stdout:
                    text = line.decode("utf-8", "replace").rstrip()
                    self._lines.put(text)
                    lines.append(text)
            exit_code = process.wait()
        finally:
            self._watch(None)
            if process.poll() is None:
                kill_group(process)
                process.wait()
        self._check_cancelled()
        if exit_code != 0:
            raise BackendError("installation-failed", f"{self.stage} failed: {reason_in(list(lines))}")

    def _enter(self, stage: str) -> None:
        self._check_cancelled()
        self.stage = stage
        self._lines.put(f"{stage} ...")

    def _watch(self, stop_child: Callable[[], None] | None) -> None:
        """Remember how to stop what runs now, for `cancel` to call; stop it at once if that came before."""
        with self._lock:
            self._stop_child = stop_child
            if stop_child is not None and self._cancelled.is_set():
                stop_child()

    def _check_cancelled(self) -> None:
        if self._cancelled.is_set():
            raise _Cancelled


def reason_in(lines: list[str]) -> str:
    """Return the lines of pip's or uv's output that tell why it failed: a few from its first error on."""
    filled = [line.strip() for line in lines if line.strip()]
    for number, line in enumerate(filled):
        if line.lower().startswith(("error", "\N{MULTIPLICATION SIGN}")):
            return " / ".join(filled[number : number + 6])
    return " / ".join(filled[-4:])


def torch_index(device: Device) -> str | None:
    """Return the package index of PyTorch's build for `device`; None for the usual one, as on macOS."""
    chosen = os.environ.get(TORCH_INDEX_VARIABLE)
    if chosen:
        return chosen
    return None if sys.platform == "darwin" else TORCH_INDEXES[device]


def check_path_length(folder: Path) -> None:
    """Raise `BackendError` where Windows would refuse the long paths inside PyTorch."""
    if os.name != "nt" or len(str(folder)) + LONGEST_INNER_PATH < WINDOWS_PATH_LIMIT or _long_paths_enabled():
        return
    text = f"The folder {folder} has too long a path for the files of PyTorch on Windows."
    raise BackendError(
        "path-too-long", text, r"Choose a short one in the preferences, such as C:\scene_codec."
    )


def _long_paths_enabled() -> bool:
    import winreg  # exists on Windows only

    key = r"SYSTEM\CurrentControlSet\Control\FileSystem"
    try:
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, key) as opened:
            return winreg.QueryValueEx(opened, "LongPathsEnabled")[0] == 1
    except OSError:
        return False


def _swap(temporary: Path, final: Path) -> None:
    """Give `temporary` the name `final`; one that is there makes way, and comes back if that fails."""
    old = final.with_name(f"{final.name}.old{TEMPORARY_SUFFIX}")
    _remove(old)
    if final.exists():
        final.rename(old)
    try:
        temporary.rename(final)
    except OSError:
        if old.exists():
            old.rename(final)
        raise
    _remove(old)


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
