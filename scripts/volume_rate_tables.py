"""Rate and quality of the wavelet codec for volumes, next to other programs on the same values.

    python scripts/volume_rate_tables.py --data FOLDER --rivals-python PYTHON

Every volume of the folder (one channel; the box of sparse ones as a dense grid) is coded into the sections of
a file at several PSNR, and without loss. The rivals run in an environment of their own: h5py, hdf5plugin,
pysz and zfpy beside numpy. BD-rates are against SPERR over the qualities that both reach; CPU seconds are
those of one process, whatever else the machine does.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from measurement.block_vae_runs import measured_grid
from measurement.results import RESULTS, Table, write_results
from scene_codec.codecs.volume_wavelet.codec import VolumeWaveletCodec
from scene_codec.codecs.volume_wavelet.decoder import decode_volume
from scene_codec.codecs.volume_wavelet.encoder import encode_volume
from scene_codec.metrics.rate import bjontegaard_rate
from scene_codec.progress import Progress
from scene_codec.volumes.volume import VolumeGrid, VolumeObject

WANTED_PSNR = (35.0, 38.0, 40.0, 42.0, 45.0, 48.0, 50.0)
SHOWN_PSNR = (40.0, 45.0, 50.0)
OURS = "wavelet"
ANCHOR = "SPERR"
RIVAL_SCRIPT = Path(__file__).parent / "measurement" / "rival_codecs.py"

Point = dict[str, Any]


def main() -> None:
    """Make the table."""
    options = parse()
    points: dict[str, list[Point]] = {}
    for path in volume_files(options.data):
        if options.only and not path.stem.startswith(tuple(options.only)):
            continue
        grid = replace(measured_grid(path), active=None, kind="unknown")
        points[path.stem] = [point | {"voxels": grid.values.size} for point in measured(grid, options)]
        print("\n".join(str(row) for row in rows_of({path.stem: points[path.stem]})), flush=True)
    table = Table("volume-rates", rows_of(points), NOTES)
    private = tuple(path for path in (options.data, options.rivals_python) if path is not None)
    out = options.out or RESULTS / "volume_rates.json"
    write_results(out, table, {"points": points}, private)
    print(out)


NOTES = (
    "PSNR is over all voxels of the box, against the range of its values. Bytes are those of all sections; "
    "of rivals, those of their stream. Ratios compare with SPERR at the same PSNR, its curve interpolated.",
)


def parse() -> argparse.Namespace:
    """Return the command's options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="volumes to measure")
    parser.add_argument(
        "--rivals-python", type=Path, metavar="PYTHON", help="interpreter that has the rivals"
    )
    parser.add_argument("--only", nargs="*", metavar="NAME", help="only volumes whose names begin so")
    parser.add_argument("--out", type=Path, metavar="FILE", help="result file; else in docs/results/")
    return parser.parse_args()


def volume_files(folder: Path) -> list[Path]:
    """Return the volumes of a folder, by name."""
    return sorted(path for path in folder.iterdir() if path.suffix in {".npz", ".npy", ".vdb", ".nrrd"})


def measured(grid: VolumeGrid, options: argparse.Namespace) -> list[Point]:
    """Return all points of a volume."""
    points = [our_point(grid, {"psnr": psnr}) for psnr in WANTED_PSNR]
    points.append(our_point(grid, {"lossless": True}))
    return points + (rival_points(grid.values, options.rivals_python) if options.rivals_python else [])


def our_point(grid: VolumeGrid, wanted: dict[str, Any]) -> Point:
    """Return what the codec makes of a grid, really decoded."""
    settings = VolumeWaveletCodec().settings(None, wanted)
    wall, cpu = time.perf_counter(), time.process_time()
    sections = encode_volume(VolumeObject("volume", (grid,)), settings, Progress())
    encode_wall, encode_cpu = time.perf_counter() - wall, time.process_time() - cpu
    payloads = {section.kind: section.payload for section in sections}
    wall, cpu = time.perf_counter(), time.process_time()
    decoded = decode_volume(payloads, Progress()).grids[0].values
    decode_wall, decode_cpu = time.perf_counter() - wall, time.process_time() - cpu
    original = grid.values.astype(np.float64)
    error = float(np.mean(((decoded.astype(np.float64) - original) / np.ptp(original)) ** 2))
    return {
        "codec": f"{OURS}, lossless" if settings.lossless else OURS,
        "setting": settings.psnr,
        "psnr": -10.0 * math.log10(error) if error > 0.0 else None,
        "bytes": sum(map(len, payloads.values())),
        "encode_seconds": encode_wall,
        "decode_seconds": decode_wall,
        "encode_cpu_seconds": encode_cpu,
        "decode_cpu_seconds": decode_cpu,
    }


def rival_points(values: NDArray[np.generic], python: Path) -> list[Point]:
    """Return the points of other programs, which run in a process of their own."""
    with tempfile.TemporaryDirectory() as folder:
        source, result = Path(folder) / "values.npy", Path(folder) / "result.json"
        np.save(source, np.ascontiguousarray(values))
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        command = [str(python), str(RIVAL_SCRIPT), str(source), str(result)]
        subprocess.run(command, check=True, env=environment)
        points: list[Point] = json.loads(result.read_text(encoding="utf-8"))
        return points


def rows_of(points: dict[str, list[Point]]) -> list[dict[str, Any]]:
    """Return the rows of the table: for each volume every codec, and means over all volumes."""
    rows = [row for name, own in points.items() for row in volume_rows(name, own)]
    codecs = dict.fromkeys(row["codec"] for row in rows)
    means = [mean_row(codec, [row for row in rows if row["codec"] == codec]) for codec in codecs]
    return [
        {field: value for field, value in row.items() if field != "codec"}
        for row in ([*means, *rows] if len(points) > 1 else rows)
    ]


def volume_rows(name: str, points: Sequence[Point]) -> list[dict[str, Any]]:
    """Return a row for each codec of a volume."""
    anchor = curve(points, ANCHOR)
    rows = []
    for codec in dict.fromkeys(point["codec"] for point in points):
        own = [point for point in points if point["codec"] == codec]
        row: dict[str, Any] = {"label": f"{name}: {codec}", "codec": codec}
        if own[0]["psnr"] is None:
            row["bits_per_voxel"] = 8 * own[0]["bytes"] / own[0]["voxels"]
        else:
            row |= rate_fields(own, anchor)
        seconds = ("encode_seconds", "decode_seconds", "encode_cpu_seconds", "decode_cpu_seconds")
        shown = [point for point in own if point["setting"] in (45.0, None) and seconds[0] in point]
        row |= {field: shown[0][field] for field in seconds if shown}
        if shown:
            row["decoded_per_second"] = shown[0]["voxels"] / shown[0]["decode_cpu_seconds"]
        rows.append(row)
    return rows


def rate_fields(points: Sequence[Point], anchor: list[tuple[float, float]]) -> dict[str, float]:
    """Return bits a voxel at the shown qualities, and how they compare with the anchor."""
    own = curve(points, points[0]["codec"])
    fields = {}
    for psnr in SHOWN_PSNR:
        bits = bits_at(own, psnr)
        if bits is not None:
            fields[f"bits_at_{psnr:.0f}"] = bits
        reference = bits_at(anchor, psnr)
        if bits is not None and reference is not None:
            fields[f"ratio_at_{psnr:.0f}"] = bits / reference
    if anchor and own != anchor:
        rates = [[(bits, 10.0 ** (-psnr / 10.0)) for psnr, bits in curve] for curve in (anchor, own)]
        try:
            fields["bd_rate"] = bjontegaard_rate(*rates)
        except ValueError as error:
            print(f"no BD-rate: {error}")
    return fields


def curve(points: Iterable[Point], codec: str) -> list[tuple[float, float]]:
    """Return PSNR and bits a voxel of a codec's lossy points, ascending, without those that gain nothing."""
    found: list[tuple[float, float]] = []
    for psnr, size, voxels in sorted(
        (point["psnr"], point["bytes"], point["voxels"])
        for point in points
        if point["codec"] == codec and point["psnr"] is not None
    ):
        while found and found[-1][1] >= 8 * size / voxels:
            found.pop()
        if not found or psnr > found[-1][0]:
            found.append((psnr, 8 * size / voxels))
    return found


def bits_at(points: list[tuple[float, float]], psnr: float) -> float | None:
    """Return the bits a voxel of a curve at a PSNR, None outside of it."""
    if not points or not points[0][0] - 0.2 <= psnr <= points[-1][0] + 0.2:
        return None
    qualities, bits = zip(*points, strict=True)
    return float(np.exp(np.interp(psnr, qualities, np.log(bits))))


def mean_row(codec: str, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the mean of rows: of ratios and BD-rates the geometric one, of all else the plain one."""
    row: dict[str, Any] = {"label": f"mean of {len(rows)}: {codec}", "codec": codec}
    for field in dict.fromkeys(field for own in rows for field in own):
        values = [own[field] for own in rows if field in own]
        if field in ("label", "codec"):
            continue
        if field.startswith("ratio"):
            row[field] = statistics.geometric_mean(values)
        elif field == "bd_rate":
            row[field] = statistics.geometric_mean([1.0 + value for value in values]) - 1.0
        else:
            row[field] = statistics.fmean(values)
    return row


if __name__ == "__main__":
    main()
