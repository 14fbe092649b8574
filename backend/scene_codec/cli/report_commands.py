"""`scene-codec inspect` and `list-codecs`: look, list."""

from __future__ import annotations

from typing import Any

from scene_codec import api
from scene_codec.cli.arguments import InspectArguments, ReportArguments, parse
from scene_codec.cli.exit_codes import ERROR, OK
from scene_codec.cli.terminal import counted, messages, print_json, print_table, results, shown, size
from scene_codec.reports import FileSummary, SectionSummary

INSPECT_HELP = """Show what is in a .nscene file, section by section, without decoding it.

All checksums are compared: a damaged file is an error, and what can be read of it is shown all the same.

Examples:
  scene-codec inspect scene.nscene
  scene-codec inspect scene.nscene --json
"""

ROWS_SHOWN = 200

CODECS_HELP = """List the codecs and their presets."""


def inspect(arguments: list[str]) -> int:
    """Run `inspect` and return the exit status. Imports nothing that imports torch."""
    options = parse(InspectArguments, "inspect", INSPECT_HELP, arguments)
    summary = api.inspect(options.file, check=True)
    if options.json:
        print_json(summary)
    else:
        _show_file(summary)
    for sentence in summary.damage[:ROWS_SHOWN]:
        messages().print(f"scene-codec: {shown(sentence)}")
    if len(summary.damage) > ROWS_SHOWN:
        messages().print(f"{len(summary.damage):,} sections are damaged; --json lists all.")
    return ERROR if summary.damage else OK


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
    count = counted(len(summary.objects), "object")
    rows.append((f"{count}, with records in the header", "", size(own)))
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
        if len(summary.objects) > 1:
            each = size(summary.file_bytes / len(summary.objects))
            results().print(f"{each} per object, everything included.")


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
