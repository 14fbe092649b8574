"""`scene-codec compare`: slices of a volume before and after, as a picture and in figures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import tyro
from tyro.conf import Positional, arg

from scene_codec.bitstream.atomic_file import write_atomically
from scene_codec.cli.arguments import Device, parse
from scene_codec.cli.exit_codes import LEFT_OUT, OK
from scene_codec.cli.interrupt import cancel_on_interrupt
from scene_codec.cli.terminal import (
    messages,
    print_json,
    print_table,
    progress_bar,
    ratio,
    results,
    shown,
    size,
)
from scene_codec.comparison import SliceChoice
from scene_codec.comparison import compare as compare_volumes
from scene_codec.errors import InvalidRequestError
from scene_codec.pictures.picture_file import is_comparison
from scene_codec.pictures.records import ComparisonReport, GridComparison
from scene_codec.progress import Progress

HELP = """Draw slices of a volume beside what came back from its file, with the difference and figures.

FILE is a .nscene file, which is decoded, or another file of the same volume. Each grid has a block of rows:
original, decoded, difference (decoded - original: blue below, red above). Vectors are shown by their length,
level sets with the line of their surface. Slices are chosen where there is something to see.

Examples:
  scene-codec compare smoke.vdb smoke.nscene -o smoke.png
  scene-codec compare smoke.vdb smoke.nscene --grid density --axis x --slices 5
  scene-codec compare head.nii.gz head.nscene --at 40 --at 60 --difference-range 20
  scene-codec compare cache/ cache.nscene --object smoke_0040 --json
"""


@dataclass(frozen=True, kw_only=True)
class CompareArguments:
    """What `compare` takes."""

    original: Positional[Annotated[Path, arg(metavar="ORIGINAL")]]
    """The volume as it was: a file, a folder of slices, or a folder that has it among its files."""

    file: Positional[Annotated[Path, arg(metavar="FILE")]]
    """A .nscene file, or another file of the volume."""

    output: Annotated[Path | None, arg(aliases=["-o"], metavar="PNG")] = None
    """The picture; by default FILE's name with .compare.png, in the current folder."""

    object: Annotated[str | None, arg(metavar="NAME")] = None
    """Which object of FILE.nscene, when the original's name does not tell."""

    grid: Annotated[tuple[str, ...], tyro.conf.UseAppendAction, arg(metavar="NAME")] = ()
    """Draw this grid alone; may be given several times."""

    axis: Literal["x", "y", "z"] | None = None
    """Slices are perpendicular to it: y for OpenVDB files (a view from the front), z for others."""

    slices: int = 3
    """How many slices, up to 12."""

    at: Annotated[tuple[int, ...], tyro.conf.UseAppendAction, arg(metavar="INDEX")] = ()
    """Draw the slice with this lattice index instead; may be given several times."""

    difference_range: Annotated[float | None, arg(metavar="VALUE")] = None
    """Where the colours of the difference end, in units of the values; makes pictures comparable."""

    overwrite: bool = False
    """Replace the output even if it is no picture that compare has drawn."""

    device: Device = "auto"
    """Where to decode."""

    json: bool = False
    """Print the figures as JSON on stdout and nothing else there; the picture is written all the same."""


class CompareReport(msgspec.Struct, frozen=True, kw_only=True):
    """What `compare --json` says: where the picture is, and the figures."""

    picture: str
    comparison: ComparisonReport


def compare(arguments: list[str]) -> int:
    """Run `compare` and return the exit status: 1 when a grid has no partner in the other file."""
    options = parse(CompareArguments, "compare", HELP, arguments)
    output = options.output or Path(f"{options.file.stem}.compare.png")
    _check_output(output, overwrite=options.overwrite)
    choice = SliceChoice(
        grids=options.grid,
        axis=options.axis,
        slices=options.slices,
        at=options.at,
        difference_range=options.difference_range,
    )
    with cancel_on_interrupt() as token, progress_bar() as callback:
        report, picture = compare_volumes(
            options.original,
            options.file,
            choice,
            object_name=options.object,
            device=options.device,
            progress=Progress(callback, token),
        )
    write_atomically(output, [picture])
    if options.json:
        print_json(CompareReport(picture=str(output), comparison=report))
    else:
        _show(report, output)
    return LEFT_OUT if report.only_in_original or report.only_in_file else OK


def _check_output(output: Path, *, overwrite: bool) -> None:
    """Raise `InvalidRequestError` before the work when the picture cannot or must not be written there."""
    if output.suffix.lower() != ".png":
        raise InvalidRequestError(f"'{output}' must end in .png, the format that is written.")
    if output.is_dir() or not output.absolute().parent.is_dir():
        raise InvalidRequestError(f"'{output}' cannot be written: it is a folder, or in none that exists.")
    if output.exists() and not overwrite and not is_comparison(output):
        raise InvalidRequestError(
            f"'{output}' is there and was not drawn by compare. Choose another name, or give --overwrite."
        )


def _show(report: ComparisonReport, output: Path) -> None:
    """Print the figures of each grid and the whole."""
    columns = ("grid", "voxels", "active", "PSNR", "PSNR of box", "largest error", "at", "topology", "slices")
    title = f"{shown(report.original)} and {shown(report.file)}"
    print_table(title, columns, [_row(grid) for grid in report.grids])
    bits = "" if report.bits_per_voxel is None else f", {report.bits_per_voxel:.4g} bits per voxel"
    whole = f"All {report.original_grids} grids: " if report.original_grids > 1 else ""
    results().print(
        f"{whole}{size(report.compared_bytes)}, {ratio(report.source_bytes, report.compared_bytes)} smaller "
        f"than the original's file, {ratio(report.binary_bytes, report.compared_bytes)} than its plain "
        f"values{bits}."
    )
    results().print(f"Picture: {shown(str(output))}")
    for names, where in ((report.only_in_original, "original"), (report.only_in_file, "compared file")):
        for name in names:
            messages().print(f"only in the {where}: {shown(name)}")


def _row(grid: GridComparison) -> tuple[str, ...]:
    """Return the cells of one grid."""
    alone = grid.topology_differences
    return (
        shown(grid.name),
        " ".join(map(str, grid.shape)),
        f"{grid.active_voxels:,}",
        "exact" if grid.exact else "-" if grid.psnr is None else f"{grid.psnr:.2f}",
        "-" if grid.box_psnr is None else f"{grid.box_psnr:.2f}",
        f"{grid.max_error:.5g}",
        "-" if grid.max_error_at is None else " ".join(map(str, grid.max_error_at)),
        f"{alone:,} differ" if alone else "same",
        f"{grid.axis} = {' '.join(map(str, grid.slices))}" if grid.slices else "-",
    )
