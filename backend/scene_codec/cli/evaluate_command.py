"""`scene-codec evaluate`: meshes against their originals, radiance fields against pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from scene_codec.bitstream.atomic_file import write_atomically
from scene_codec.cli.arguments import EvaluateArguments, parse
from scene_codec.cli.exit_codes import LEFT_OUT, OK
from scene_codec.cli.interrupt import cancel_on_interrupt
from scene_codec.cli.picture_size import picture_size
from scene_codec.cli.terminal import (
    counted,
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

if TYPE_CHECKING:
    from scene_codec.evaluation import ErrorSummary, EvaluationReport
    from scene_codec.metrics.mesh_distance import MeshDistance
    from scene_codec.radiance_evaluation import RadianceEvaluation

HELP = """Measure a .nscene file: meshes against their originals, a radiance field against pictures.

Meshes (--reference): distances are in the frame that brings each original's bounding box into [-1, 1].
Radiance fields (--images): the views of a data set are rendered and compared with its pictures, PSNR and SSIM
of each and their means. Pictures with transparency are laid over the field's background.

Examples:
  scene-codec evaluate bodies.nscene --reference bodies/ --json bodies.json
  scene-codec evaluate lego.nscene --images nerf_synthetic/lego --split test --json lego.json
  scene-codec evaluate lego.nscene --images nerf_synthetic/lego --every 25 --size 200x200
"""


def evaluate(arguments: list[str]) -> int:
    """Run `evaluate` and return the exit status: 1 when an object or a reference has no partner."""
    options = parse(EvaluateArguments, "evaluate", HELP, arguments)
    if options.json is not None and options.json.exists() and options.json.suffix.lower() != ".json":
        raise InvalidRequestError(f"'{options.json}' is there and is no .json file; choose another name.")
    if (options.images is None) == (not options.reference):
        raise InvalidRequestError(
            "Give either --reference ORIGINALS, for a file of meshes, or --images DATASET, for a file of "
            "radiance fields."
        )
    _refuse_unused(options)
    if options.images is None:
        meshes = _measure_meshes(options)
        _finish(meshes, options)
        if str(options.json) != "-":
            _show_evaluation(meshes)
        return LEFT_OUT if meshes.without_reference or meshes.not_decoded or meshes.failures else OK
    views = _measure_views(options, options.images)
    _finish(views, options)
    if str(options.json) != "-":
        _show_views(views)
    return OK


def _refuse_unused(options: EvaluateArguments) -> None:
    """Refuse flags that say nothing about what is measured."""
    of_meshes = {"--samples": options.samples, "--seed": options.seed}
    plain = options.split == "test" and options.every == 1
    of_views = {"--split or --every": None if plain else True, "--size": options.size, "--only": options.only}
    unused = of_views if options.images is None else of_meshes
    for flag, value in unused.items():
        if value is not None:
            kind = "radiance fields" if options.images is None else "meshes"
            raise InvalidRequestError(f"{flag} says something about {kind}, which are not measured here.")


def _measure_meshes(options: EvaluateArguments) -> EvaluationReport:
    """Measure meshes against their originals."""
    from scene_codec.evaluation import evaluate as measure
    from scene_codec.metrics.mesh_distance import DEFAULT_SAMPLES

    with cancel_on_interrupt() as token, progress_bar() as callback:
        return measure(
            options.file,
            options.reference,
            samples=DEFAULT_SAMPLES if options.samples is None else options.samples,
            seed=options.seed or 0,
            device=options.device,
            progress=Progress(callback, token),
        )


def _measure_views(options: EvaluateArguments, images: Path) -> RadianceEvaluation:
    """Measure a radiance field against pictures."""
    from scene_codec.radiance_evaluation import evaluate_views

    with cancel_on_interrupt() as token, progress_bar() as callback:
        return evaluate_views(
            options.file,
            images,
            options.split,
            size=picture_size(options.size),
            every=options.every,
            only=options.only,
            device=options.device,
            progress=Progress(callback, token),
        )


def _finish(report: object, options: EvaluateArguments) -> None:
    """Write the report where it is wanted."""
    if options.json is None:
        return
    if str(options.json) == "-":
        print_json(report)
    else:
        _write_json(report, options.json)


def _show_views(report: RadianceEvaluation) -> None:
    """Print one line per view, and the means."""
    rows = [
        (shown(view.name), *_quality_cells(view.psnr, view.ssim, view.mse), duration(view.seconds))
        for view in report.views
    ]
    each = duration(report.render_seconds / len(report.views))
    mean = ("mean", *_quality_cells(report.psnr, report.ssim, report.mse), each)
    title = f"{shown(report.path)}, {shown(report.object)}, at {report.width} x {report.height}"
    print_table(title, ("view", "PSNR", "SSIM", "MSE", "time"), rows, mean)
    results().print(
        f"{counted(len(report.views), 'view')} of {shown(report.images)} ({report.split}), "
        f"{report.psnr:.2f} dB from {_bytes(report)}. Decoded in {duration(report.decode_seconds)}, "
        f"rendered in {duration(report.render_seconds)} on {report.device}."
    )


def _bytes(report: RadianceEvaluation) -> str:
    """Return how large the file is, and the field where the file holds much else."""
    if 2 * report.object_bytes > report.file_bytes:
        return size(report.file_bytes)
    return f"{size(report.object_bytes)} of a file of {size(report.file_bytes)}"


def _quality_cells(psnr: float, ssim: float | None, mse: float) -> tuple[str, str, str]:
    return f"{psnr:.2f}", "-" if ssim is None else f"{ssim:.4f}", f"{mse:.3g}"


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
