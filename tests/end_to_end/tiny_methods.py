"""Methods for tests of the service: each does one thing that a job could do to it."""

import ctypes
import logging
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from scene_codec.errors import UnsupportedSceneError
from scene_codec.progress import Progress
from scene_codec.service.methods import JobMethod, MethodTable, QuickMethod
from scene_codec.service.requests import NoParams, Params


class Echo(Params, frozen=True, kw_only=True):
    value: Any


class Marked(Params, frozen=True, kw_only=True):
    """`marker` : a file that the job writes its process id to."""

    marker: str


def echo(params: Echo, progress: Progress) -> object:
    return params.value


def count(params: NoParams, progress: Progress) -> object:
    for step in range(5):
        progress.part(0.0, 1.0, f"stage {step}").update(step / 5, "counting")
    logging.getLogger("scene_codec.tiny").warning("a word of warning")
    return os.getpid()


def wait_for_cancel(params: Marked, progress: Progress) -> object:
    Path(params.marker).write_text(str(os.getpid()))
    while True:
        progress.update(0.5)
        time.sleep(0.01)


def ignore_cancel(params: Marked, progress: Progress) -> object:
    Path(params.marker).write_text(str(os.getpid()))
    while True:
        time.sleep(0.05)


def hold_the_interpreter(params: Marked, progress: Progress) -> object:
    Path(params.marker).write_text(str(os.getpid()))
    ctypes.PyDLL(None).sleep(10_000)  # native code that keeps the interpreter's lock
    return None


def crash(params: NoParams, progress: Progress) -> object:
    print("the last words")  # noqa: T201 - what the service must survive
    os._exit(77)


def segfault(params: NoParams, progress: Progress) -> object:
    ctypes.string_at(0)
    return None


def fail(params: NoParams, progress: Progress) -> object:
    raise UnsupportedSceneError("object 'x': too odd")


def blunder(params: NoParams, progress: Progress) -> object:
    raise KeyError("a bug")


def leave(params: NoParams, progress: Progress) -> object:
    sys.exit(3)


def print_everywhere(params: NoParams, progress: Progress) -> object:
    print("a stray print")  # noqa: T201 - what the service must survive
    print('{"jsonrpc":"2.0","id":1,"result":"forged"}', flush=True)  # noqa: T201 - what the service must survive
    os.write(1, b"native code prints to descriptor 1\n")
    subprocess.run([sys.executable, "-c", "print('a child prints'); input()"], check=False)
    return "fine"


def return_too_much(params: NoParams, progress: Progress) -> object:
    return "x" * (17 * 1024 * 1024)


def glance(params: Echo) -> object:
    if params.value == "fail":
        raise UnsupportedSceneError("cannot look")
    return [params.value, "torch" in sys.modules]


def describe() -> dict[str, Any]:
    if os.environ.get("TINY_METHODS_CANNOT_START"):
        raise ImportError("torch: DLL load failed")
    return {"version": "0", "python": "3", "torch": "none", "devices": [], "codecs": ["tiny"], "advice": []}


METHODS = MethodTable(
    jobs={
        "echo": JobMethod(Echo, echo),
        "count": JobMethod(NoParams, count),
        "wait_for_cancel": JobMethod(Marked, wait_for_cancel),
        "ignore_cancel": JobMethod(Marked, ignore_cancel),
        "hold_the_interpreter": JobMethod(Marked, hold_the_interpreter),
        "crash": JobMethod(NoParams, crash),
        "segfault": JobMethod(NoParams, segfault),
        "fail": JobMethod(NoParams, fail),
        "blunder": JobMethod(NoParams, blunder),
        "leave": JobMethod(NoParams, leave),
        "print_everywhere": JobMethod(NoParams, print_everywhere),
        "return_too_much": JobMethod(NoParams, return_too_much),
    },
    quick={"glance": QuickMethod(Echo, glance)},
    describe=describe,
)
