"""`scene-codec inspect`, `evaluate` and `list-codecs`: look, measure, list."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from scene_codec import api
from scene_codec.bitstream.atomic_file import write_atomically
from scene_codec.cli.arguments import EvaluateArguments, InspectArguments, ReportArguments, parse
from scene_codec.cli.exit_codes import LEFT_OUT, OK
from scene_codec.cli.interrupt import cancel_on_interrupt
from scene_codec.cli.terminal import (
    duration,
    json_document,
    messages,
    print_json,
    print_table,
    progress_bar,
    ratio,
    results,
    shown,
    size,
)
from scene_codec.errors import InvalidRequestError
from scene_codec.progress import Progress
from scene_codec.reports import FileSummary, SectionSummary

if TYPE_CHECKING:
    from scene_codec.evaluation import ErrorSummary, EvaluationReport
    from scene_codec.metrics.mesh_distance import MeshDistance

INSPECT_HELP = """Show what is in a .nscene file, section by section, without decoding it.

Examples:
  scene-codec inspect scene.nscene
  scene-codec inspect scene.nscene --json
"""

EVALUATE_HELP = """Decode a .nscene file and measure it against the originals.

Distances are in the frame that brings each original's bounding box into [-1, 1].

Examples:
  scene-codec evaluate bodies.nscene --reference bodies/
  scene-codec evaluate bodies.nscene --reference bodies/ --json bodies.json
"""

ROWS_SHOWN = 200

CODECS_HELP = """List the codecs and their presets."""


def inspect(arguments: list[str]) -> int:
    """Run `inspect` and return the exit status. Imports nothing that imports torch."""
    options = parse(InspectArguments, "inspect", INSPECT_HELP, arguments)
    summary = api.inspect(options.file)
    if options.json:
        print_json(summary)
    else:
        _show_file(summary)
    return OK


def evaluate(arguments: list[str]) -> int:
    """Run `evaluate` and return the exit status: 1 when an object or a reference has no partner."""
    from scene_codec.evaluation import evaluate as measure

    options = parse(EvaluateArguments, "evaluate", EVALUATE_HELP, arguments)
    to_stdout = options.json is not None and str(options.json) == "-"
    if options.json is not None and options.json.exists() and options.json.suffix.lower() != ".json":
        raise InvalidRequestError(f"'{options.json}' is there and is no .json file; choose another name.")
    with cancel_on_interrupt() as token, progress_bar() as callback:
        report = measure(
            options.file,
            options.reference,
            samples=options.samples,
            seed=options.seed,
            device=options.device,
            progress=Progress(callback, token),
        )
    if to_stdout:
        print_json(report)
    else:
        if options.json is not None:
            _write_json(report, options.json)
        _show_evaluation(report)
    return LEFT_OUT if report.without_reference or report.not_decoded or report.failures else OK


def list_codecs(arguments: list[str]) -> int:
    """Run `list-codecs` and return the exit status."""
    options = parse(ReportArguments, "list-codecs", CODECS_HELP, arguments)
    codecs = api.list_codecs()
    if options.json:
        print_json(codecs)
        return OK
    for codec in codecs:
        results().print(f"[bold]{shown(codec.name)}[/bold]  {shown(codec.summary)}")
        for name, line in codec.presets.items():
            default = " (default)" if name == codec.default_preset else ""
            results().print(f"  --preset {shown(name)}{default}: {shown(line)}")
    return OK


def _show_file(summary: FileSummary) -> None:
    """Print the sections of the whole file, then every object with its sections."""
    rows = [("header and object table", "", size(summary.header_bytes))]
    rows += [(f"shared: {shown(part.label)}", str(part.kind), size(part.bytes)) for part in summary.shared]
    own = sum(item.bytes for item in summary.objects)
    rows.append((f"{len(summary.objects):,} objects, with their records in the header", "", size(own)))
    title = (
        f"{shown(summary.path)}: {shown(summary.codec)}, format {summary.container_version}, "
        f"payload {summary.payload_version}"
    )
    print_table(title, ("part", "kind", "size"), rows, ("total", "", size(summary.file_bytes)))
    objects = [
        (
            shown(item.name),
            _sections(item.sections) if item.instance_of is None else f"shape of {shown(item.instance_of)}",
            size(item.host_bytes) if item.host_bytes else "-",
            size(item.bytes),
        )
        for item in summary.objects[:ROWS_SHOWN]
    ]
    if len(summary.objects) > ROWS_SHOWN:
        results().print(f"The first {ROWS_SHOWN} of {len(summary.objects):,} objects; --json lists all.")
    if objects:
        print_table("Objects", ("object", "sections", "host data", "size"), objects, text_columns=2)
        for item in summary.objects[:ROWS_SHOWN]:
            for part, facts in item.details.items():
                _show_facts(f"{item.name}: {part}", facts)
        results().print(f"{size(summary.file_bytes / len(summary.objects))} per object, everything included.")


def _show_facts(title: str, facts: tuple[dict[str, Any], ...]) -> None:
    """Print what a codec says of the parts of an object, a line each."""
    columns = tuple(dict.fromkeys(column for fact in facts for column in fact))
    rows = [tuple(_fact(fact.get(column)) for column in columns) for fact in facts]
    print_table(shown(title), tuple(column.replace("_", " ") for column in columns), rows)


def _fact(value: object) -> str:
    """Return a codec's word, number or list of them as a cell."""
    if isinstance(value, list | tuple):
        return " ".join(_fact(item) for item in value)
    if isinstance(value, float):
        return f"{value:.5g}"
    return "-" if value is None else shown(str(value))


def _sections(sections: tuple[SectionSummary, ...]) -> str:
    """Return the sections of one object in one cell."""
    return ", ".join(f"{shown(part.label)} {size(part.bytes)}" for part in sections) or "-"


def _show_evaluation(report: EvaluationReport) -> None:
    """Print one line per object, the means and medians, and what had no partner."""
    own = sum(item.bytes for item in report.objects)
    # As in `encode`: what all have in common is divided evenly.
    share = (report.file_bytes - own) / max(len(report.objects), 1)
    columns = (
        "object",
        "own bytes",
        "ratio with share",
        "CD",
        "excess",
        "to original",
        "p99",
        "from original",
        "p99",
        "NC",
        "F1",
    )
    rows = [
        (
            shown(item.name),
            size(item.bytes),
            ratio(item.binary_bytes, item.bytes + share),
            *_error_cells(item.error),
        )
        for item in report.objects
    ]
    if report.mean is not None and report.median is not None:
        rows.append(("median", "", "", *_error_cells(report.median)))
        whole = (size(report.bytes_per_object), ratio(report.binary_bytes, report.file_bytes))
        title = f"{shown(report.path)} against its originals (distances x 1e-3, the original spans 2)"
        print_table(title, columns, rows, ("mean, whole file", *whole, *_error_cells(report.mean)))
        results().print(
            f"{size(report.file_bytes)} in all: {ratio(report.source_bytes, report.file_bytes)} smaller than "
            f"the source files, {ratio(report.binary_bytes, report.file_bytes)} than plain binary meshes; "
            f"decoded in {duration(report.decode_seconds)}. CD from {report.samples:,} samples; excess is "
            "what it has above the floor of that many samples; F1 at 0.005."
        )
    for name in report.not_decoded:
        messages().print(f"no decoded object for the reference '{shown(name)}'")
    for name in report.without_reference:
        messages().print(f"no reference for the object '{shown(name)}'")
    for failure in report.failures:
        messages().print(f"{shown(failure.name)}: {shown(failure.reason)}")


def _error_cells(error: MeshDistance | ErrorSummary) -> tuple[str, ...]:
    """Return the errors of one object, or one statistic of them, as table cells."""
    distances = (
        error.chamfer,
        error.chamfer_excess,
        error.decoded_to_reference_mean,
        error.decoded_to_reference_p99,
        error.reference_to_decoded_mean,
        error.reference_to_decoded_p99,
    )
    shares = (error.normal_consistency, error.f1_0005)
    return (*(f"{value * 1e3:.2f}" for value in distances), *(f"{value:.3f}" for value in shares))


def _write_json(report: object, path: Path) -> None:
    """Write the report to a file in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, [json_document(report)])
