"""The paper's two tables for the block VAE, and what rate optimisation adds.

    python scripts/volume_vae_tables.py quality --data FOLDER --published FOLDER
    python scripts/volume_vae_tables.py times --published FOLDER --sizes 4

quality: every volume of a folder through the published models, ours trained like them, our own and, for
    comparison, volume-wavelet; PSNR, bits a voxel of real files, seconds. The first rows are means.
times: encoding and decoding of made volumes of the paper's six sizes. The published models stand for ours of
    the same sizes, which take the same time.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from measurement.block_vae_runs import Variant, measure_variant, measured_grid
from measurement.results import RESULTS, Table, write_results
from scene_codec.codecs.volume_vae.config import CODEC_NAME
from scene_codec.codecs.volume_vae.model import MODEL_SUFFIX, load_model, save_model, shipped_models
from scene_codec.codecs.volume_vae.published_weights import read_published_weights
from scene_codec.metrics.rate import bjontegaard_rate
from scene_codec.volumes.procedural import power_noise
from scene_codec.volumes.volume import VolumeGrid

PUBLISHED = {
    "paper-zero-margin": "dense_vae_s8_m0_l32_h128_b64_e8.pt",
    "paper-two-wide": "dense_vae_s8_m2_l32_h128_b64_e8.pt",
    "paper-more-parameters": "dense_vae_s8_m2_l64_h256_b64_e8.pt",
}
"""Presets, and the files of the paper's repository that hold the same variant as published."""

SIZES = (
    (192, 180, 168),
    (512, 512, 32),
    (256, 256, 256),
    (280, 512, 174),
    (512, 512, 512),
    (832, 832, 494),
)
"""Sizes of the paper's table of times."""

WANTED_PSNR = (35.0, 40.0, 45.0, 50.0)
RATE, WAVELET = "ours rate", "volume-wavelet"
SUMMARISED = (
    "mse",
    "psnr",
    "active_psnr",
    "max_error",
    "bits_per_voxel",
    "encode_cpu_seconds",
    "decode_cpu_seconds",
)
SHOWN = SUMMARISED[:5]

Row = dict[str, Any]


def main() -> None:
    """Make one table."""
    options = parse()
    with tempfile.TemporaryDirectory() as folder:
        published = list(published_variants(options.published, Path(folder)))
        if options.table == "quality":
            variants = [*published, *curve(RATE, CODEC_NAME, "rate"), *curve(WAVELET, WAVELET, "balanced")]
            variants += trained_variants()
            files = volume_files(options.data)
            measured = measure(files, variants)
            table = Table("volume-vae", quality_rows([path.stem for path in files], measured), NOTES)
            details = {"points": measured}
        else:
            rate = Variant(f"{RATE}, 40 dB", CODEC_NAME, "rate", {"psnr": 40.0})
            table = times_table(SIZES[: options.sizes], [*published[::2], rate])
            details = {}
    out = options.out or RESULTS / f"volume_vae_{options.table}.json"
    private = tuple(path for path in (options.data, options.published) if path is not None)
    models = {name: len(load_model(name).data) for name in shipped_models()}
    write_results(out, table, {"model_bytes": models, **details}, private)
    print(out)


def parse() -> argparse.Namespace:
    """Return the command's options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table", choices=["quality", "times"])
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="quality: volumes to measure")
    parser.add_argument("--published", type=Path, metavar="FOLDER", help="the paper's own weights (*.pt)")
    parser.add_argument("--sizes", type=int, default=len(SIZES), help="times: only the first so many sizes")
    parser.add_argument("--out", type=Path, metavar="FILE", help="result file; else in docs/results/")
    options = parser.parse_args()
    if options.table == "quality" and options.data is None:
        parser.error("quality needs --data")
    return options


def published_variants(weights: Path | None, folder: Path) -> Iterator[Variant]:
    """Yield the published models, saved as models of ours in a folder, each in two ways."""
    for preset, file in PUBLISHED.items() if weights is not None else ():
        assert weights is not None
        path = folder / f"{preset}{MODEL_SUFFIX}"
        save_model(path, read_published_weights(weights / file).data)
        yield from dense_variants(f"published {preset.removeprefix('paper-')}", preset, str(path))


def trained_variants() -> Iterator[Variant]:
    """Yield the models of the package that were trained like the published ones."""
    for preset in PUBLISHED:
        yield from dense_variants(f"ours {preset.removeprefix('paper-')}", preset, preset)


def dense_variants(label: str, preset: str, model: str) -> Iterator[Variant]:
    """Yield a model of the published kind with latents as published, and the same ones range coded."""
    yield Variant(label, CODEC_NAME, preset, {"model": model})
    coded = {"model": model, "latents": "quantised"}
    yield Variant(f"{label}, latents range coded", CODEC_NAME, preset, coded)


def curve(label: str, codec: str, preset: str) -> list[Variant]:
    """Return a codec at all wanted qualities."""
    return [Variant(f"{label}, {psnr:.0f} dB", codec, preset, {"psnr": psnr}) for psnr in WANTED_PSNR]


def volume_files(folder: Path) -> list[Path]:
    """Return the volumes of a folder, by name."""
    return sorted(path for path in folder.iterdir() if path.suffix in {".npz", ".npy", ".vdb", ".nrrd"})


def measure(files: Sequence[Path], variants: Sequence[Variant]) -> dict[str, list[Row]]:
    """Return what every variant comes to on every volume."""
    grids = [measured_grid(path) for path in files]
    measured: dict[str, list[Row]] = {}
    for variant in variants:
        measured[variant.label] = [measure_variant(grid, variant) for grid in grids]
        print({"label": variant.label, **mean(measured[variant.label])}, flush=True)
    return measured


def quality_rows(names: Sequence[str], measured: dict[str, list[Row]]) -> list[Row]:
    """Return the means of all variants, and of each volume what is worth a row."""
    rows = [{"label": f"mean of {len(names)}: {label}", **mean(own)} for label, own in measured.items()]
    changes = [bd_rate(measured, index) for index in range(len(names))]
    rows.append({"label": f"mean of {len(names)}: {RATE}", "bd_rate_wavelet": statistics.fmean(changes)})
    dense = [label for label in measured if label.startswith(("published", "ours")) and "," not in label]
    for index, name in enumerate(names):
        for label in dense:
            own = measured[label][index]
            rows.append({"label": f"{name}: {label}", **{key: own[key] for key in SHOWN if key in own}})
        bits = {
            f"bits_at_{psnr:.0f}": measured[variant.label][index]["bits_per_voxel"]
            for psnr, variant in zip(WANTED_PSNR, curve(RATE, "", ""), strict=True)
        }
        rows.append({"label": f"{name}: {RATE}", **bits, "bd_rate_wavelet": changes[index]})
    return rows


NOTES = (
    "Bits a voxel are those of a file without its model, which is stored in the file unless it ships with "
    "the package, and with the topology of sparse grids; 8, 16 or 32 by that number is the ratio to plain "
    "voxels. Where PSNR is a mean, it is the mean of dB; that of active voxels is over the sparse volumes.",
    "CPU seconds are those of one process with one thread, reading the model and measuring the quality "
    "included.",
    "The wanted PSNR is that of active voxels. BD-rates are over 35 to 50 dB, for sparse volumes over their "
    "active voxels.",
    "None of these volumes was trained on. One that was is like two of these: a fire simulated by ourselves "
    "with the same program.",
)


def mean(rows: Sequence[Row]) -> Row:
    """Return the means of the rows' figures, each over the rows that have it."""
    return {
        field: statistics.fmean(row[field] for row in rows if field in row)
        for field in SUMMARISED
        if any(field in row for row in rows)
    }


def bd_rate(measured: dict[str, list[Row]], index: int) -> float:
    """Return the change of rate of our model against volume-wavelet on one volume: 0.3 is 30 % more."""

    def points(label: str) -> list[tuple[float, float]]:
        own = [measured[variant.label][index] for variant in curve(label, "", "")]
        return [(row["bits_per_voxel"], 10 ** (-row.get("active_psnr", row["psnr"]) / 10)) for row in own]

    return bjontegaard_rate(points(WAVELET), points(RATE))


def times_table(sizes: Sequence[tuple[int, int, int]], variants: Sequence[Variant]) -> Table:
    """Measure made volumes of some sizes."""
    fields = (
        "encode_seconds",
        "decode_seconds",
        "encode_cpu_seconds",
        "decode_cpu_seconds",
        "bits_per_voxel",
    )
    rows = []
    for shape in sizes:
        grid = VolumeGrid("density", made_volume(shape))
        for variant in variants:
            measured = measure_variant(grid, variant)
            label = f"{' x '.join(map(str, shape))}: {variant.label}"
            rows.append({"label": label, **{key: measured[key] for key in fields}})
            print(rows[-1], flush=True)
    notes = (
        "Made volumes of 8 bits, noise of several scales. Seconds are those of one thread from the array to "
        "the file and back, measuring the quality included; published ones those of the network alone. They "
        "were taken beside other work, CPU seconds are those of the one process.",
    )
    return Table("volume-vae-times", rows, notes)


def made_volume(shape: tuple[int, int, int]) -> np.ndarray:
    """Return 8-bit noise whose lower third is cut off; a cube of 128 repeated."""
    cube = power_noise(128, np.random.default_rng(0), 2.0)
    values = np.clip(80.0 * (cube + 0.4), 0, 255).astype(np.uint8)
    tiled = np.tile(values, [-(-size // 128) for size in shape])
    return np.ascontiguousarray(tiled[: shape[0], : shape[1], : shape[2]])


if __name__ == "__main__":
    main()
