"""Entry point of the `scene-codec` command: picks the command, and turns every ending into an exit status."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
import traceback
from dataclasses import dataclass
from importlib.metadata import version

from scene_codec.cli.exit_codes import BUG, CANCELLED, ERROR, OK
from scene_codec.cli.terminal import messages, prepare_streams, print_json, shown
from scene_codec.errors import Cancelled, SceneCodecError


@dataclass(frozen=True)
class Command:
    """One command: the module and function that run it, imported when it is called, and a line of help."""

    module: str
    function: str
    summary: str


COMMANDS = {
    "encode": Command(
        "encode_command", "encode", "turn meshes, volumes or radiance fields into one .nscene file"
    ),
    "estimate": Command(
        "estimate_command", "estimate", "tell what meshes will come to, before they are encoded"
    ),
    "decode": Command("decode_command", "decode", "turn a .nscene file back into meshes or volumes"),
    "add": Command("encode_command", "add", "add objects to a .nscene file"),
    "inspect": Command("report_commands", "inspect", "show what is in a file, section by section"),
    "render": Command("render_command", "render_command", "take pictures of a radiance field"),
    "evaluate": Command("evaluate_command", "evaluate", "measure a file against the originals, or pictures"),
    "compare": Command("compare_command", "compare", "draw slices of a volume before and after"),
    "train-volume": Command("train_volume", "train_volume", "train a volume-vae model on your own volumes"),
    "train-nerf": Command("train_nerf", "train_nerf", "train a NeRF on pictures of a scene"),
    "train-field": Command("train_field", "train_field", "train a voxel field on pictures of a scene"),
    "list-codecs": Command("report_commands", "list_codecs", "list the codecs and their presets"),
    "doctor": Command("doctor", "doctor", "check what is installed and which device is used"),
}

EXAMPLES = """Examples:
  scene-codec encode bodies/ hat.glb -o scene.nscene
  scene-codec inspect scene.nscene
  scene-codec decode scene.nscene -o meshes/ --format glb
  scene-codec render lego.nscene --cameras transforms_test.json -o views/
  scene-codec evaluate scene.nscene --reference bodies/ --json figures.json

Every command takes --json for scripts and --help for its flags and examples.
Exit status: 0 done; 1 done, but some inputs were left out (each is named) or something is missing;
2 refused or failed, with one line that says why; 3 an error nobody foresaw; 130 cancelled."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit status (see `exit_codes`)."""
    prepare_streams()
    words = sys.argv[1:] if arguments is None else arguments
    if not words or words[0] in {"-h", "--help", "help"}:
        print_help()
        return OK if words else ERROR
    if words[0] in {"-V", "--version"}:
        _write(f"scene-codec {version('scene-codec')}")
        return OK
    command = COMMANDS.get(words[0])
    if command is None:
        close = difflib.get_close_matches(words[0], COMMANDS, n=1)
        hint = f" Perhaps you meant '{close[0]}'." if close else ""
        return _fail(f"There is no command '{words[0]}'.{hint} Commands: {', '.join(COMMANDS)}.")
    return _run(command, words[1:])


def print_help() -> None:
    """Write the commands, examples and exit statuses to stdout."""
    width = max(len(name) for name in COMMANDS)
    lines = [
        "usage: scene-codec COMMAND ...",
        "",
        "Neural Scene Codec: meshes, volumes and radiance fields in small files.",
        "",
        "Commands:",
    ]
    lines += [f"  {name:<{width}}  {command.summary}" for name, command in COMMANDS.items()]
    _write("\n".join([*lines, "", EXAMPLES]))


def _run(command: Command, arguments: list[str]) -> int:
    """Run one command; when the reader of stdout has left (`inspect FILE | head`), stop quietly."""
    try:
        return _attempt(command, arguments)
    except BrokenPipeError:
        # The interpreter's last flush goes nowhere, instead of failing a second time.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK


def _attempt(command: Command, arguments: list[str]) -> int:
    """Run one command; an error becomes one line on stderr, and with --json also an object on stdout."""
    # `evaluate` takes a file name behind --json, or "-" for stdout.
    as_json = "--json" in arguments and (command.function != "evaluate" or "-" in arguments)
    try:
        run = getattr(importlib.import_module(f"scene_codec.cli.{command.module}"), command.function)
        return int(run(arguments))
    except KeyboardInterrupt:
        return _fail("Cancelled.", code=Cancelled.code, as_json=as_json, status=CANCELLED)
    except SceneCodecError as problem:
        status = CANCELLED if isinstance(problem, Cancelled) else ERROR
        return _fail(str(problem), code=problem.code, as_json=as_json, status=status)
    except BrokenPipeError:
        raise
    except OSError as problem:
        return _fail(f"{problem.strerror or problem}: {problem.filename or 'no file named'}", as_json=as_json)
    except Exception:
        traceback.print_exc()
        message = "This is a bug in scene-codec; please report it with the lines above."
        return _fail(message, code="bug", as_json=as_json, status=BUG)


def _fail(
    message: str, *, code: str = SceneCodecError.code, as_json: bool = False, status: int = ERROR
) -> int:
    """Say what went wrong and return the exit status."""
    messages().print(f"scene-codec: {shown(message)}")
    if as_json:
        print_json({"error": {"code": code, "message": message}})
    return status


def _write(text: str) -> None:
    """Write plain lines to stdout."""
    sys.stdout.write(text + "\n")
