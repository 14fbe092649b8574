"""`scene-codec estimate`: what encoding will come to, before it is done."""

from __future__ import annotations

from typing import cast

import msgspec
import tyro

from scene_codec.cli.arguments import EstimateArguments, early_parser, parse
from scene_codec.cli.codec_settings import given_settings
from scene_codec.cli.exit_codes import LEFT_OUT, OK
from scene_codec.cli.input_patterns import expand_patterns
from scene_codec.cli.interrupt import cancel_on_interrupt
from scene_codec.cli.terminal import (
    counted,
    duration,
    print_failures,
    print_json,
    print_table,
    progress_bar,
    ratio,
    results,
    shown,
    size,
)
from scene_codec.codecs.registry import DEFAULT_CODECS, codec_named
from scene_codec.estimation import estimate as estimate_inputs
from scene_codec.progress import Progress
from scene_codec.reports import EstimateReport

ROWS_SHOWN = 60

HELP = """Tell about how many bytes and triangles meshes will come to, before they are encoded.

Takes what `encode` takes and some seconds a mesh, where encoding takes from seconds to minutes; writes
nothing. Bytes are mostly right within a fifth, of parts with many small features within a factor of two. The
settings below are those of {codec} with the preset {preset}: errors are percent of the diagonal of a mesh's
bounding box.

Examples:
  scene-codec estimate statue.obj --target-error 0.05
  scene-codec estimate statue.obj --target-size 2000
  scene-codec estimate bodies/ props/*.glb --preset small --json
"""


def estimate(arguments: list[str]) -> int:
    """Run `estimate` and return the exit status."""
    # The flags depend on the codec, and the values that --help shows on the preset: both are looked up first.
    early = early_parser()
    early.add_argument("--codec")
    early.add_argument("--preset")
    chosen, _ = early.parse_known_args(arguments)
    codec = codec_named(chosen.codec or DEFAULT_CODECS["mesh"])
    preset = codec.settings(chosen.preset, {})
    # A type made at run time, which a type checker cannot follow.
    record = cast(type[EstimateArguments[msgspec.Struct]], EstimateArguments[type(preset)])  # type: ignore[misc]
    options = parse(
        record,
        "estimate",
        HELP.format(codec=codec.info.name, preset=chosen.preset or codec.info.default_preset),
        arguments,
        default=EstimateArguments(inputs=tyro.MISSING, settings=preset),
    )
    with cancel_on_interrupt() as token, progress_bar() as callback:
        report = estimate_inputs(
            expand_patterns(options.inputs),
            codec=options.codec,
            preset=options.preset,
            settings=given_settings(options.settings, preset, arguments),
            progress=Progress(callback, token),
        )
    if options.json:
        print_json(report)
    else:
        _show(report)
        print_failures(report.failures)
    return LEFT_OUT if report.failures else OK


def _show(report: EstimateReport) -> None:
    """Print what each object and the whole file will come to."""
    rows = [
        (
            shown(item.name),
            f"{item.faces:,} to {item.triangles:,}",
            f"{item.error_percent:.2g} % of diagonal",
            size(item.bytes),
            ratio(item.binary_bytes, item.bytes),
        )
        for item in report.objects[:ROWS_SHOWN]
    ]
    if len(report.objects) > ROWS_SHOWN:
        results().print(f"The first {ROWS_SHOWN} of {len(report.objects):,} objects; --json lists all.")
    binary = sum(item.binary_bytes for item in report.objects)
    total = (
        "whole file",
        f"{report.triangles:,}",
        "",
        size(report.file_bytes),
        ratio(binary, report.file_bytes),
    )
    print_table("About what encoding will come to", COLUMNS, rows, total)
    results().print(
        f"{counted(len(report.objects), 'object')}, {report.codec}, preset {shown(report.preset)}, "
        f"{duration(report.seconds)}. Bytes include each object's share of the file's head."
    )


COLUMNS = ("object", "triangles", "mean error", "bytes", "ratio")
