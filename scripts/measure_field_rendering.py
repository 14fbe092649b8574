"""How fast a voxel field is rendered, exactly and for a viewport, and what the faster way costs.

    python scripts/measure_field_rendering.py --file chair.nscene --pictures FOLDER
    python scripts/measure_field_rendering.py --file chair.nscene --pictures FOLDER --views 4 --threads 2

Test views of a data set, as wide as each size and cut to its height, by both ways. Frames are counted in
seconds of the clock, so that the machine should have nothing else to do; CPU seconds stand beside them. In
sizes that the pictures have, views are compared with them as well.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from measurement.results import RESULTS, Table, write_results
from scene_codec import api
from scene_codec.metrics.image_quality import psnr
from scene_codec.radiance.cameras import Camera
from scene_codec.radiance.field import RadianceField, render_view
from scene_codec.radiance.posed_images import PosedImage, load_posed_images
from scene_codec.radiance.radiance_object import RadianceObject
from scene_codec.voxel_fields.interactive import InteractiveField
from scene_codec.voxel_fields.voxel_field import VoxelField

SIZES = ((160, 120), (400, 300), (800, 800))
_EXACT_RUNS = 2

Picture = NDArray[np.float32]


def main() -> None:
    """Make the table."""
    options = parse()
    torch.set_num_threads(options.threads)
    load_before = os.getloadavg()
    exact = voxel_field(options.file)
    started = time.process_time()
    fast = InteractiveField.of_model(exact.model, exact.domain)
    prepared = time.process_time() - started
    images = load_posed_images(options.pictures, "test").images
    views = images[:: max(1, len(images) // options.views)][: options.views]
    rows = []
    for size in SIZES:
        for row in rows_of(size, views, exact, fast, options.runs):
            rows.append(row)
            print(row, flush=True)
    load = {"before": load_before, "after": os.getloadavg()}
    details = {
        "load_average": load,
        "threads": options.threads,
        "views": [view.camera.name for view in views],
        "prepare_cpu_seconds": prepared,
        "table_bytes": [table.stored_bytes for table in fast.levels],
        "field": {
            "nodes": len(exact.model.parameters()["raw_density"]),
            "file_bytes": options.file.stat().st_size,
        },
    }
    out = options.out or RESULTS / "field_rendering.json"
    table = Table("field-rendering", rows, notes(options, details))
    write_results(out, table, details, (options.pictures, options.file))
    print(out)


def parse() -> argparse.Namespace:
    """Return the command's options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--file", type=Path, required=True, metavar="FILE", help="a compressed voxel field")
    parser.add_argument("--pictures", type=Path, required=True, metavar="FOLDER", help="its data set")
    parser.add_argument("--views", type=int, default=2, help="test views, evenly spaced")
    parser.add_argument("--runs", type=int, default=5, help="pictures of each view for the faster way")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, metavar="FILE", help="result file; else in docs/results/")
    return parser.parse_args()


def notes(options: argparse.Namespace, details: dict[str, Any]) -> tuple[str, ...]:
    """Return what is said below the table."""
    load, field = details["load_average"], details["field"]
    return (
        f"`{options.file.name}`, {field['file_bytes']:,} bytes, {field['nodes']:,} nodes; "
        f"{len(details['views'])} test views of {options.pictures.name}. Exact: the network makes a colour "
        "of each sample, in steps of half a voxel. Interactive: of the mean features of two samples, in "
        "steps of a voxel.",
        f"{options.threads} thread(s), frames in a second of the clock. The interactive tables took "
        f"{details['prepare_cpu_seconds']:.2f} CPU s to make, once, and "
        f"{sum(details['table_bytes']) / 1e6:.0f} MB.",
        f"Times are the least of {options.runs} pictures of each view, exact ones of {_EXACT_RUNS}.",
        "Processes waiting for a processor, mean of a minute: "
        f"{load['before'][0]:.1f} before, {load['after'][0]:.1f} after.",
    )


def voxel_field(file: Path) -> VoxelField:
    """Return the one voxel field of a file."""
    (item,) = api.decode(file, device="cpu")
    if not isinstance(item, RadianceObject) or not isinstance(item.field, VoxelField):
        raise SystemExit(f"{file} holds no voxel field.")
    return item.field


def rows_of(
    size: tuple[int, int],
    views: Sequence[PosedImage],
    exact: RadianceField,
    fast: InteractiveField,
    runs: int,
) -> list[dict[str, Any]]:
    """Return the rows of both ways in one size."""
    own, other = [], []
    for view in views:
        camera = cut(view.camera, size)
        truth = picture_of(view, size)
        seen, took = timed(lambda camera=camera: render_view(exact, camera).colour, _EXACT_RUNS)
        own.append({**took, "psnr": truth is not None and psnr(truth, seen)})
        quick, took = timed(lambda camera=camera: over(fast, camera), runs)
        other.append({
            **took,
            "psnr": truth is not None and psnr(truth, quick),
            "psnr_to_exact": psnr(seen, quick),
        })  # fmt: skip
    name = f"{size[0]} x {size[1]}"
    first = {"label": f"{name}, exact", **mean_of(own)}
    second = {"label": f"{name}, interactive", **mean_of(other)}
    if first["psnr"] is not None:
        second["psnr_loss"] = first["psnr"] - second["psnr"]
    return [first, second]


def mean_of(measured: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the means of the fields of all views, and the frames in a second."""
    row = {
        name: None if measured[0][name] is False else float(np.mean([own[name] for own in measured]))
        for name in measured[0]
    }
    seconds = row.pop("seconds")
    assert seconds is not None
    return {"frames_per_second": 1.0 / seconds, **row}


def cut(camera: Camera, size: tuple[int, int]) -> Camera:
    """Return a camera with a picture as wide as the size, and the middle of its rows."""
    width, height = size
    whole = camera.resized(width, round(width * camera.height / camera.width))
    return replace(whole, height=height, centre_y=whole.centre_y - (whole.height - height) // 2)


def picture_of(view: PosedImage, size: tuple[int, int]) -> Picture | None:
    """Return what the camera saw in the same cut; None where its picture is smaller."""
    width, height = size
    camera = view.camera
    if width > camera.width:
        return None
    whole = replace(view, camera=camera.resized(width, round(width * camera.height / camera.width)))
    seen = whole.load(white_background=True)
    first = (seen.shape[0] - height) // 2
    return seen[first : first + height]


def over(field: InteractiveField, camera: Camera) -> Picture:
    """Return the picture that a viewport gets, laid over the background."""
    rgba = field.picture(camera).rgba
    clear = (1.0 - rgba[..., 3:]) if field.domain.white_background else np.float32(0.0)
    return np.clip(rgba[..., :3] + clear, 0.0, 1.0)


def timed(render: Callable[[], Picture], runs: int) -> tuple[Picture, dict[str, float]]:
    """Return a picture, and the seconds and CPU seconds of the run that took the least time."""
    took = []
    for _ in range(runs):
        started, cpu = time.perf_counter(), time.process_time()
        picture = render()
        took.append((time.perf_counter() - started, time.process_time() - cpu))
    seconds, cpu = min(took)
    return picture, {"seconds": seconds, "cpu_seconds": cpu}


if __name__ == "__main__":
    main()
