"""`scene-codec encode` and `scene-codec add`."""

from __future__ import annotations

import argparse
from typing import cast

import msgspec
import tyro

from scene_codec import api
from scene_codec.cli.arguments import AddArguments, EncodeArguments, parse
from scene_codec.cli.codec_settings import changed_settings
from scene_codec.cli.exit_codes import LEFT_OUT, OK
from scene_codec.cli.input_patterns import expand_patterns
from scene_codec.cli.interrupt import cancel_on_interrupt
from scene_codec.cli.terminal import (
    duration,
    messages,
    print_json,
    print_table,
    progress_bar,
    ratio,
    results,
    shown,
    size,
)
from scene_codec.codecs.registry import codec_named
from scene_codec.progress import Progress
from scene_codec.reports import EncodeReport, ObjectFailure

ROWS_SHOWN = 60

ENCODE_HELP = """Turn meshes into one small .nscene file.

Examples:
  scene-codec encode statue.obj -o statue.nscene
  scene-codec encode bodies/ props/*.glb -o scene.nscene
  scene-codec encode bodies/ -o bodies.nscene --preset paper --resolution 64
"""

ADD_HELP = """Add meshes to a .nscene file. The objects that are there keep their bytes.

Examples:
  scene-codec add bodies.nscene new_body.obj
  scene-codec add bodies.nscene more/ -o more_bodies.nscene
"""


def encode(arguments: list[str]) -> int:
    """Run `encode` and return the exit status."""
    # The flags depend on the codec, and the values that --help shows on the preset: both are looked up first.
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    early.add_argument("--codec", default="mesh-necgs")
    early.add_argument("--preset")
    chosen, _ = early.parse_known_args(arguments)
    preset = codec_named(chosen.codec).settings(chosen.preset, {})
    # A type made at run time, which a type checker cannot follow.
    record = cast(type[EncodeArguments[msgspec.Struct]], EncodeArguments[type(preset)])  # type: ignore[misc]
    options = parse(
        record,
        "encode",
        ENCODE_HELP,
        arguments,
        default=EncodeArguments(inputs=tyro.MISSING, output=tyro.MISSING, settings=preset),
    )
    inputs = expand_patterns(options.inputs)
    with cancel_on_interrupt() as token, progress_bar() as callback:
        report = api.encode(
            inputs,
            options.output,
            codec=options.codec,
            preset=options.preset,
            settings=changed_settings(options.settings, preset),
            device=options.device,
            progress=Progress(callback, token),
        )
    return _finish(report, as_json=options.json)


def add(arguments: list[str]) -> int:
    """Run `add` and return the exit status."""
    options = parse(AddArguments, "add", ADD_HELP, arguments)
    inputs = expand_patterns(options.inputs)
    with cancel_on_interrupt() as token, progress_bar() as callback:
        report = api.add(
            options.file,
            inputs,
            output=options.output,
            device=options.device,
            progress=Progress(callback, token),
        )
    return _finish(report, as_json=options.json)


def _finish(report: EncodeReport, *, as_json: bool) -> int:
    """Show the report and return the exit status that fits it."""
    if as_json:
        print_json(report)
    else:
        _show_objects(report)
        print_failures(report.failures)
    return LEFT_OUT if report.failures else OK


def _show_objects(report: EncodeReport) -> None:
    """Print what each object and the whole file came to."""
    rows = [
        (
            shown(item.name),
            f"{item.vertices:,}",
            f"{item.faces:,}",
            size(item.binary_bytes),
            size(item.bytes),
            ratio(item.binary_bytes, item.bytes),
        )
        for item in report.objects[:ROWS_SHOWN]
    ]
    binary = sum(item.binary_bytes for item in report.objects)
    source = sum(item.source_bytes for item in report.objects)
    total = ("whole file", "", "", size(binary), size(report.file_bytes), ratio(binary, report.file_bytes))
    columns = ("object", "vertices", "faces", "as plain binary", "in the file", "ratio")
    print_table(shown(report.path), columns, rows, total)
    if len(report.objects) > ROWS_SHOWN:
        results().print(f"and {len(report.objects) - ROWS_SHOWN:,} more; inspect lists all")
    against = (
        f", {ratio(source, report.file_bytes)} smaller than the source files ({size(source)})"
        if source
        else ""
    )
    results().print(
        f"{len(report.objects):,} objects in {size(report.file_bytes)}{against}. "
        f"{report.codec}, preset {shown(report.preset)}, {report.device}, {duration(report.seconds)}."
    )


def print_failures(failures: tuple[ObjectFailure, ...]) -> None:
    """Name every input that was left out, with its reason, on stderr."""
    if failures:
        messages().print(f"{len(failures)} left out:")
    for failure in failures:
        messages().print(f"  {shown(failure.name)}: {shown(failure.reason)}")
