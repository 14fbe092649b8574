"""`scene-codec encode` and `scene-codec add`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import cast

import msgspec
import tyro

from scene_codec import api
from scene_codec.bitstream import begins_scene_file, open_scene_file
from scene_codec.cli.arguments import AddArguments, EncodeArguments, early_parser, parse
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
from scene_codec.codecs.contract import Codec
from scene_codec.codecs.registry import DEFAULT_CODECS, all_codecs, codec_named
from scene_codec.errors import InvalidRequestError
from scene_codec.missed_targets import ERROR_PERCENT, fact_of, missed_targets
from scene_codec.object_inputs import default_codec
from scene_codec.progress import Progress
from scene_codec.radiance.checkpoint_source import is_checkpoint_file
from scene_codec.reports import EncodedObject, EncodeReport
from scene_codec.volumes.volume_files import volume_suffix

ROWS_SHOWN = 60
MESH_COLUMNS = ("object", "vertices", "faces", "as plain binary", "own bytes")
SURFACE_COLUMNS = ("object", "faces", "mean error", "as plain binary", "own bytes")
FIELD_COLUMNS = ("object", "parameters", "PSNR", "as plain binary", "own bytes")
VOLUME_COLUMNS = ("object", "grids", "voxels", "as plain binary", "own bytes")

ENCODE_HELP = """Turn meshes, volumes or trained radiance fields into one small .nscene file.

The settings below are those of {codec} with the preset {preset}; name another input, --codec or --preset
beside --help to see others. Of a radiance field whose networks are two files, one is enough.

Examples:
  scene-codec encode statue.obj -o statue.nscene
  scene-codec encode bodies/ props/*.glb -o scene.nscene
  scene-codec encode statue.obj -o statue.nscene --target-error 0.05
  scene-codec encode bodies/ -o bodies.nscene --codec mesh-necgs --preset paper --resolution 64
  scene-codec encode smoke.vdb head.nii.gz -o volumes.nscene
  scene-codec encode logs/lego/200000.tar -o lego.nscene
  scene-codec encode logs/lego/200000.tar -o lego.nscene --images nerf_synthetic/lego
"""

ADD_HELP = """Add objects to a .nscene file. The objects that are there keep their bytes.

{settings}

Examples:
  scene-codec add bodies.nscene new_body.obj
  scene-codec add bodies.nscene more/ -o more_bodies.nscene
  scene-codec add scans.nscene head.nii.gz --preset high
  scene-codec add fields.nscene logs/ship/200000.tar --images nerf_synthetic/ship
"""

SETTINGS_UNKNOWN = "Name the file beside --help to see the settings of its codec."
SETTINGS_OF_CODEC = "The settings below are those of {codec}, the file's codec, with the preset {preset}."
SETTINGS_FIXED = """
Those that hold for the whole file cannot be changed: {names}."""


class NoSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Those of a file that is not known."""


def encode(arguments: list[str]) -> int:
    """Run `encode` and return the exit status."""
    # The flags depend on the codec, and the values that --help shows on the preset: both are looked up first.
    early = early_parser()
    early.add_argument("--codec")
    early.add_argument("--preset")
    chosen, rest = early.parse_known_args(arguments)
    codec = chosen.codec or _codec_for(rest)
    preset = codec_named(codec).settings(chosen.preset, {})
    shown_preset = chosen.preset or codec_named(codec).info.default_preset
    # A type made at run time, which a type checker cannot follow.
    record = cast(type[EncodeArguments[msgspec.Struct]], EncodeArguments[type(preset)])  # type: ignore[misc]
    options = parse(
        record,
        "encode",
        ENCODE_HELP.format(codec=codec, preset=shown_preset),
        arguments,
        default=EncodeArguments(inputs=tyro.MISSING, output=tyro.MISSING, settings=preset),
    )
    inputs = expand_patterns(options.inputs)
    if chosen.codec is None:
        default_codec(inputs)  # a mixture is refused before anything is computed
    with cancel_on_interrupt() as token, progress_bar() as callback:
        report = api.encode(
            inputs,
            options.output,
            codec=codec,
            preset=options.preset,
            settings=given_settings(options.settings, preset, arguments),
            device=options.device,
            progress=Progress(callback, token),
        )
    return _finish(report, _show_encoded, as_json=options.json)


def _codec_for(words: list[str]) -> str:
    """Return the codec of the inputs among a command line's words, as far as one can see before parsing."""
    names = [word for word in words if not word.startswith("-")]
    # First: a data set beside a trained field may be taken for a volume.
    fields = [Path(name) for name in names if is_checkpoint_file(Path(name))]
    with contextlib.suppress(InvalidRequestError):
        if fields:
            return default_codec(fields)
        for word in names:
            if volume_suffix(Path(word)) or Path(word).is_dir():
                return default_codec(word)
    return DEFAULT_CODECS["radiance" if fields else "mesh"]


def add(arguments: list[str]) -> int:
    """Run `add` and return the exit status."""
    early = early_parser()
    early.add_argument("--output", "-o")
    early.add_argument("--preset")
    chosen, rest = early.parse_known_args(arguments)
    codec = _codec_of_file(rest)
    preset = NoSettings() if codec is None else codec.settings(chosen.preset, {})
    record = cast(type[AddArguments[msgspec.Struct]], AddArguments[type(preset)])  # type: ignore[misc]
    options = parse(
        record,
        "add",
        ADD_HELP.format(settings=_settings_in_words(codec, chosen.preset)),
        arguments,
        default=AddArguments(file=tyro.MISSING, inputs=tyro.MISSING, settings=preset),
    )
    inputs = expand_patterns(options.inputs)
    with cancel_on_interrupt() as token, progress_bar() as callback:
        report = api.add(
            options.file,
            inputs,
            output=options.output,
            preset=options.preset,
            settings=given_settings(options.settings, preset, arguments),
            device=options.device,
            progress=Progress(callback, token),
        )
    return _finish(report, _show_added, as_json=options.json)


def _codec_of_file(words: list[str]) -> Codec | None:
    """Return the codec of the .nscene file among the words of a command line, None without one that is known.

    Raises what `open_scene_file` raises for one that is damaged.
    """
    for word in words:
        if word.startswith("-") or not Path(word).is_file():
            continue
        with Path(word).open("rb") as stream:
            if not begins_scene_file(stream.read(8)):
                continue
        with open_scene_file(word) as scene:
            return all_codecs().get(scene.codec)
    return None


def _settings_in_words(codec: Codec | None, preset: str | None) -> str:
    """Return what the help says of the settings."""
    if codec is None:
        return SETTINGS_UNKNOWN
    words = SETTINGS_OF_CODEC.format(codec=codec.info.name, preset=preset or codec.info.default_preset)
    fixed = codec.info.fixed_settings
    return words + (SETTINGS_FIXED.format(names=", ".join(fixed)) if fixed else "")


def _finish(report: EncodeReport, show: Callable[[EncodeReport], None], *, as_json: bool) -> int:
    """Show the report and return the exit status that fits it."""
    if as_json:
        print_json(report)
    else:
        show(report)
        print_failures(report.failures)
    return LEFT_OUT if report.failures else OK


def _show_encoded(report: EncodeReport) -> None:
    """Print what each object and the whole file came to."""
    own = sum(item.bytes for item in report.objects)
    # What all objects have in common is divided evenly: a ratio of an object's own bytes alone would flatter.
    share = (report.file_bytes - own) / max(len(report.objects), 1)
    rows = [
        (*row, size(item.bytes + share), ratio(item.binary_bytes, item.bytes + share))
        for row, item in zip(_object_rows(report), report.objects, strict=False)
    ]
    binary = sum(item.binary_bytes for item in report.objects)
    # A checkpoint also holds the state of its optimiser: to be smaller than that is no merit.
    source = sum(item.source_bytes for item in report.objects if not item.parameters)
    whole = (size(binary), size(own), size(report.file_bytes), ratio(binary, report.file_bytes))
    columns = (*_object_columns(report), "with share of file", "ratio")
    print_table(shown(report.path), columns, rows, ("whole file", "", "", *whole))
    against = f", {ratio(source, report.file_bytes)} smaller than the source files ({size(source)})"
    results().print(
        f"{counted(len(report.objects), 'object')} in {size(report.file_bytes)}{against if source else ''}. "
        f"{report.codec}, {_in_force(report)}, {report.device}, {duration(report.seconds)}."
    )
    for line in missed_targets(report):
        results().print(shown(line))


def _in_force(report: EncodeReport) -> str:
    """Return in words the settings that were in force."""
    words = []
    for name, value in report.changed.items():
        spelled = name.replace("_", " ")
        if value is None or value is False:
            words.append(f"no {spelled}")
        else:
            words.append(spelled if value is True else f"{spelled} {value}")
    changes = f" changed to {', '.join(words)}" if words else ""
    return f"preset {shown(report.preset)}{shown(changes)}"


def _show_added(report: EncodeReport) -> None:
    """Print what was added to the file."""
    own = sum(item.bytes for item in report.objects)
    print_table(
        shown(report.path),
        _object_columns(report),
        _object_rows(report),
        ("all added", "", "", "", size(own)),
    )
    results().print(
        f"{counted(len(report.objects), 'object')} added; the file now has {size(report.file_bytes)}. "
        f"{_in_force(report)}, {report.device}, {duration(report.seconds)}."
    )
    for line in missed_targets(report):
        results().print(shown(line))


def _object_columns(report: EncodeReport) -> tuple[str, ...]:
    """Return the heads of the columns that `_object_rows` fills."""
    if any(item.parameters for item in report.objects):
        return FIELD_COLUMNS
    if any(fact_of(item, ERROR_PERCENT) is not None for item in report.objects):
        return SURFACE_COLUMNS
    return VOLUME_COLUMNS if any(item.grids for item in report.objects) else MESH_COLUMNS


def _counts(item: EncodedObject) -> tuple[str, str]:
    """Return how large an object was before."""
    if item.parameters:
        return f"{item.parameters:,}", _reached(item)
    if item.grids:
        return f"{item.grids:,}", f"{item.voxels:,}"
    error = fact_of(item, ERROR_PERCENT)
    if error is not None:
        return f"{item.faces:,} to {fact_of(item, 'faces'):,}", f"{error:.2g} % of diagonal"
    return f"{item.vertices:,}", f"{item.faces:,}"


def _reached(item: EncodedObject) -> str:
    """Return how closely a radiance field shows its pictures, or else what it showed before."""
    for name, what in (("psnr_to_training_pictures", "pictures"), ("psnr_to_field", "field before")):
        reached = fact_of(item, name)
        if reached is not None:
            return f"{reached:.2f} dB to the {what}"
    return "-"


def _object_rows(report: EncodeReport) -> list[tuple[str, ...]]:
    """Return one row for each object, up to a number that can be read."""
    if len(report.objects) > ROWS_SHOWN:
        results().print(f"The first {ROWS_SHOWN} of {len(report.objects):,} objects; inspect lists all.")
    return [
        (
            shown(item.name),
            *_counts(item),
            size(item.binary_bytes),
            size(item.bytes),
        )
        for item in report.objects[:ROWS_SHOWN]
    ]
