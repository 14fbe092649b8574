"""`scene-codec render`: pictures and films of radiance fields."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.conf import Positional, arg

from scene_codec.cli.arguments import Device, SceneFile, Split, parse
from scene_codec.cli.exit_codes import OK
from scene_codec.cli.interrupt import cancel_on_interrupt
from scene_codec.cli.picture_size import picture_size
from scene_codec.cli.terminal import duration, print_json, print_table, progress_bar, results, shown
from scene_codec.errors import InvalidRequestError
from scene_codec.progress import Progress
from scene_codec.view_pictures import DEFAULT_FPS, PictureChoice
from scene_codec.view_rendering import DEFAULT_ELEVATION, DEFAULT_VIEWS, RenderReport, ViewChoice, render

HELP = """Take pictures of a radiance field: one file per view, named after it, and a film.

Views come from a data set's cameras (a transforms.json, a poses_bounds.npy, or a folder with them or in the
layout of NSVF; the pictures need not be there), or from a path around the scene. A PNG shows colours as the
field gives them, which is as displays show them (sRGB), in front of the field's background. An OpenEXR file
holds scene-linear colours without background, premultiplied with the opacity, opacity, and depth in scene
units: R, G, B, A, Z. Opacity was learnt with colours mixed as displays show them: laid over a background in
linear light, half transparent edges differ a little from the PNG.

Examples:
  scene-codec render lego.nscene -o turntable/ --film turntable.mp4
  scene-codec render lego.nscene --cameras transforms_test.json --size 400x400 -o views/ --frames ::25
  scene-codec render fern.nscene --cameras fern/ --split test -o views/ --depth
  scene-codec render lego.nscene --cameras shot.json -o shot/ --format exr
"""

ROWS_SHOWN = 60


@dataclass(frozen=True, kw_only=True)
class RenderArguments:
    """What `render` takes."""

    file: Positional[SceneFile]
    """The file with the radiance field."""

    output: Annotated[Path, arg(aliases=["-o"], metavar="DIR")]
    """The folder for the pictures; made when it is not there."""

    cameras: Annotated[Path | None, arg(metavar="PATH")] = None
    """A transforms.json with one or many frames, a poses_bounds.npy, or a data set's folder. By default a
    circle around the scene, or in front of it if it faces forward."""

    split: Split = "all"
    """Which views of a data set."""

    frames: Annotated[tuple[str, ...], tyro.conf.UseAppendAction, arg(metavar="WHICH")] = ()
    """Views by index (3), slice (0:10, ::8) or name; may be given several times. All by default."""

    size: Annotated[str | None, arg(metavar="WxH")] = None
    """Size of the pictures, of the cameras' shape; by default what the cameras say, 400x400 on a circle."""

    orbit: Annotated[int | None, arg(metavar="N")] = None
    """Number of views on the circle when no cameras are given, 40 by default."""

    elevation: Annotated[float | None, arg(metavar="DEG")] = None
    """Height of the circle around the scene, in degrees above the horizon, 30 by default."""

    only: Annotated[str | None, arg(metavar="NAME")] = None
    """Which object, where the file holds several."""

    shading: Literal["exact", "deferred"] = "exact"
    """How colours are made: for each sample along a ray, or for a few samples together, which is several
    times faster and a little less exact. Deferred is for fields on grids."""

    format: Literal["png", "exr"] = "png"
    """Format of the pictures."""

    alpha: bool = False
    """PNG files without background, with straight alpha; OpenEXR files have alpha anyway."""

    depth: bool = False
    """Also write depth in colours, near ones light, as NAME.depth.png; all on the scale of the first view."""

    film: Annotated[Path | None, arg(aliases=["--video"], metavar="FILE.mp4")] = None
    """Also write a film of the views (H.264), in front of the background."""

    fps: float | None = None
    """Views shown in a second of the film, 24 by default."""

    overwrite: bool = False
    """Replace files of the same names that are there already."""

    device: Device = "auto"
    """Where to compute."""

    json: bool = False
    """Print what was written as JSON on stdout and nothing else there."""


def render_command(arguments: list[str]) -> int:
    """Run `render` and return the exit status."""
    options = parse(RenderArguments, "render", HELP, arguments)
    if options.cameras is None and options.split != "all":
        raise InvalidRequestError("--split chooses among the views of --cameras, which were not given.")
    if options.cameras is not None and (options.orbit is not None or options.elevation is not None):
        raise InvalidRequestError("--orbit and --elevation are of the circle, which --cameras replace.")
    if options.film is None and options.fps is not None:
        raise InvalidRequestError("--fps is of the film, which was not asked for. Give --film FILE.mp4.")
    views = ViewChoice(
        cameras=options.cameras,
        split=options.split,
        frames=options.frames,
        size=picture_size(options.size),
        path_views=DEFAULT_VIEWS if options.orbit is None else options.orbit,
        elevation_degrees=DEFAULT_ELEVATION if options.elevation is None else options.elevation,
    )
    pictures = PictureChoice(
        format=options.format,
        alpha=options.alpha,
        depth=options.depth,
        film=options.film,
        fps=DEFAULT_FPS if options.fps is None else options.fps,
        overwrite=options.overwrite,
    )
    with cancel_on_interrupt() as token, progress_bar() as callback:
        report = render(
            options.file,
            options.output,
            views,
            pictures,
            only=options.only,
            shading=options.shading,
            device=options.device,
            progress=Progress(callback, token),
        )
    if options.json:
        print_json(report)
    else:
        _show(report)
    return OK


def _show(report: RenderReport) -> None:
    """Show which view went into which files, and how long it took."""
    rows = [
        (
            shown(frame.name),
            shown(", ".join(frame.files)),
            f"{frame.width} x {frame.height}",
            duration(frame.seconds),
        )
        for frame in report.frames[:ROWS_SHOWN]
    ]
    if len(report.frames) > ROWS_SHOWN:
        results().print(f"The first {ROWS_SHOWN} of {len(report.frames):,} views; --json lists all.")
    print_table(shown(report.folder), ("view", "files", "size", "time"), rows, text_columns=2)
    each = duration(report.render_seconds / len(report.frames))
    results().print(
        f"{len(report.frames):,} views of {shown(report.object)}, {each} each on {report.device}; "
        f"{duration(report.seconds)} in all."
    )
    if report.film is not None:
        results().print(f"Film: {shown(report.film)}")
