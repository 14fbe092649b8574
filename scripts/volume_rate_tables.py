"""Rate and quality of the wavelet codec for volumes, next to other programs on the same values.

    python scripts/volume_rate_tables.py --data FOLDER --rivals-python PYTHON --tthresh PROGRAM
        --openvdb-python PYTHON

Every volume of the folder (one channel; the box of sparse ones as a dense grid) is coded into the sections of
a file at several PSNR, and without loss. Other programs: 8 x 8 x 8 cosine transforms with Zstandard, of this
project's own; SPERR, SZ3, zfp and lossless ones from an environment with h5py, hdf5plugin, pysz and zfpy
beside numpy; TTHRESH built from its source (see measurement/tthresh.py); OpenVDB with 16-bit floats and
Blosc, from an environment with its module or with the package bpy. What is not given is left out.

With --keep, what other programs came to is taken from a folder if values, code and programs are the same. The
figures of the codec itself are measured in every run.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from measurement.block_dct import NAME as DCT
from measurement.block_vae_runs import measured_grid
from measurement.rate_curves import bits_at, codec_rows, curve, mean_row, rate_change
from measurement.results import RESULTS, Table, write_results
from measurement.tthresh import NAME as TTHRESH
from measurement.volume_rivals import HALF_BLOSC, TRAINED_ON, Rivals
from scene_codec.codecs.volume_wavelet.codec import VolumeWaveletCodec
from scene_codec.codecs.volume_wavelet.decoder import decode_volume
from scene_codec.codecs.volume_wavelet.encoder import encode_volume
from scene_codec.progress import Progress
from scene_codec.volumes.volume import VolumeGrid, VolumeObject

WANTED_PSNR = (33.0, 35.0, 38.0, 40.0, 42.0, 45.0, 48.0, 50.0)
OURS = "wavelet"
ANCHOR = "SPERR"
COMPARED = {
    "bd_rate": ANCHOR,
    "bd_rate_sz3": "SZ3",
    "bd_rate_zfp": "zfp",
    "bd_rate_tthresh": TTHRESH,
    "bd_rate_dct": DCT,
}
"""Field of a rate change of ours, and against what."""

NOTES = (
    "PSNR is over all voxels of the box, against the range of its values. Bytes are those of all sections; "
    "of other programs, those of their stream, of OpenVDB those of its file. Figures at a PSNR are "
    "interpolated.",
    "The prior, 153 KB of the package, is in no file and not counted; it was trained on other volumes.",
    "Ratios and BD-rate (35 to 50 dB, or as far as both reach) are against SPERR. Seconds are of the point "
    "next to 45 dB, on one core of a machine with other work: CPU seconds say more. Those of TTHRESH include "
    "its start and its plain files, those of DCT-8 the search for the step.",
)
COMPARED_NOTES = (
    "Bytes of the wavelet codec against those of others at the same PSNR, mean from 35 to 50 dB: -30% is "
    "30 % less. A dash: the two share no quality in that range.",
    "Half + Blosc: how many times smaller the codec's bytes are at 45 dB; OpenVDB stores values almost "
    "exactly, at 85 dB and more. Lossless ratio: the codec's bytes over those of the better of zstd and "
    "Blosc2 with zstd; above 1 those are smaller.",
)

Point = dict[str, Any]


def main() -> None:
    """Make the tables."""
    options = parse()
    rivals = Rivals(options.rivals_python, options.tthresh, options.openvdb_python, options.keep)
    points: dict[str, list[Point]] = {}
    commits: list[str] = []
    for path in volume_files(options.data):
        if options.only and not path.stem.startswith(tuple(options.only)):
            continue
        grid = replace(measured_grid(path), active=None, kind="unknown")
        others, own_commits = rivals.points(grid.values)
        commits += own_commits
        points[path.stem] = [point | {"voxels": grid.values.size} for point in our_points(grid) + others]
        print(compared_row(path.stem, points[path.stem]), flush=True)
    notes = [*NOTES, *rivals.missing]
    notes.append(f"Other programs were measured at commit {', '.join(dict.fromkeys(commits))}.")
    private = (options.data, options.rivals_python, options.tthresh, options.openvdb_python, options.keep)
    paths = tuple(path for path in private if path is not None)
    out = options.out or RESULTS / "volume_rates.json"
    details = {"points": points, "load_average": os.getloadavg()}
    write_results(out, Table("volume-rates", rows_of(points), notes), details, paths)
    compared = Table("volume-rates-compared", compared_rows(points), COMPARED_NOTES)
    write_results(out.with_name(f"{out.stem}_compared.json"), compared, {}, paths)
    print(out)


def parse() -> argparse.Namespace:
    """Return the command's options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="volumes to measure")
    parser.add_argument(
        "--rivals-python", type=Path, metavar="PYTHON", help="interpreter that has SPERR, SZ3, zfp"
    )
    parser.add_argument("--tthresh", type=Path, metavar="PROGRAM", help="TTHRESH")
    parser.add_argument("--openvdb-python", type=Path, metavar="PYTHON", help="interpreter that has OpenVDB")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="points of other programs")
    parser.add_argument("--only", nargs="*", metavar="NAME", help="only volumes whose names begin so")
    parser.add_argument("--out", type=Path, metavar="FILE", help="result file; else in docs/results/")
    return parser.parse_args()


def volume_files(folder: Path) -> list[Path]:
    """Return the volumes of a folder, by name."""
    return sorted(path for path in folder.iterdir() if path.suffix in {".npz", ".npy", ".vdb", ".nrrd"})


def our_points(grid: VolumeGrid) -> list[Point]:
    """Return the points of the codec."""
    return [our_point(grid, {"psnr": psnr}) for psnr in WANTED_PSNR] + [our_point(grid, {"lossless": True})]


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


def rows_of(points: dict[str, list[Point]]) -> list[dict[str, Any]]:
    """Return for each volume every codec, and means over all volumes before them."""
    rows = [row for name, own in points.items() for row in codec_rows(name, own, ANCHOR)]
    codecs = dict.fromkeys(row["codec"] for row in rows)
    means = []
    for codec in codecs:
        own_rows = [row for row in rows if row["codec"] == codec]
        means.append(mean_row(f"mean of {len(own_rows)}: {codec}", own_rows))
    for row in rows:
        del row["codec"]
    return [*means, *rows] if len(points) > 1 else rows


def compared_rows(points: dict[str, list[Point]]) -> list[dict[str, Any]]:
    """Return a row for each volume, the codec against every other program; the mean and the worst before."""
    rows = [compared_row(name, own) for name, own in points.items()]
    unseen = [row for row in rows if not row["trained_on"]]
    if len(unseen) < 2:
        return rows
    mean = mean_row(f"mean of {len(unseen)} that the prior was not trained on", _figures(unseen))
    worst = {
        field: (min if field == "ratio_to_half_blosc" else max)(row[field] for row in unseen if field in row)
        for field in dict.fromkeys(field for row in _figures(unseen) for field in row)
    }
    return [mean, {"label": f"worst of these {len(unseen)}"} | worst, *rows]


def _figures(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{field: row[field] for field in row if field not in ("label", "trained_on")} for row in rows]


def compared_row(name: str, points: Sequence[Point]) -> dict[str, Any]:
    """Return how the codec compares with every other program on one volume."""
    ours = curve(points, OURS)
    row: dict[str, Any] = {"label": name}
    for field, codec in COMPARED.items():
        change = rate_change(curve(points, codec), ours)
        if change is not None:
            row[field] = change
    lossless = {point["codec"]: point["bytes"] for point in points if point["psnr"] is None}
    own_bytes = lossless.pop(f"{OURS}, lossless", None)
    if own_bytes is not None and lossless:
        row["lossless_ratio"] = own_bytes / min(lossless.values())
    stored = [point for point in points if point["codec"] == HALF_BLOSC]
    bits = bits_at(ours, 45.0)
    if stored and bits is not None:
        row["ratio_to_half_blosc"] = 8 * stored[0]["bytes"] / stored[0]["voxels"] / bits
    return row | {"trained_on": name.startswith(TRAINED_ON)}


if __name__ == "__main__":
    main()
