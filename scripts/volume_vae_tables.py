"""The paper's two tables for the block VAE, and what rate optimisation adds.

    python scripts/volume_vae_tables.py quality --data FOLDER --published FOLDER --models FOLDER
    python scripts/volume_vae_tables.py times --models FOLDER --sizes 4

quality: every volume of a folder through the published models, ours trained like them, and our own; PSNR,
    bits a voxel of real files, seconds. The first rows are means over the volumes.
times: encoding and decoding of made volumes of the paper's six sizes.

Models are .nscmodel files of the names of the codec's presets; without --models those of the package are
taken.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from measurement.block_vae_runs import Variant, measure_variant, measured_grid
from measurement.results import RESULTS, Table, write_results
from scene_codec.codecs.volume_vae.config import PRESETS, settings_for
from scene_codec.codecs.volume_vae.model import MODEL_SUFFIX, BlockModel, load_model, shipped_models
from scene_codec.codecs.volume_vae.published_weights import read_published_weights
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
MEANS = ("mse", "psnr", "active_psnr", "max_error", "bits_per_voxel", "encode_seconds", "decode_seconds")


def main() -> None:
    """Make one table."""
    options = parse()
    variants = list(variants_of(options))
    if options.table == "quality":
        table = quality_table(volume_files(options.data), variants)
    else:
        table = times_table(SIZES[: options.sizes], variants)
    out = options.out or RESULTS / f"{table.name.replace('-', '_')}.json"
    private = tuple(path for path in (options.data, options.published, options.models) if path is not None)
    models = {variant.label: len(variant.model.data) for variant in variants}
    write_results(out, table, {"model_bytes": models}, private)
    print(out)


def parse() -> argparse.Namespace:
    """Return the command's options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table", choices=["quality", "times"])
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="quality: volumes to measure")
    parser.add_argument("--published", type=Path, metavar="FOLDER", help="the paper's own weights (*.pt)")
    parser.add_argument("--models", type=Path, metavar="FOLDER", help="trained models, else the package's")
    parser.add_argument("--sizes", type=int, default=len(SIZES), help="times: only the first so many sizes")
    parser.add_argument("--out", type=Path, metavar="FILE", help="result file; else in docs/results/")
    options = parser.parse_args()
    if options.table == "quality" and options.data is None:
        parser.error("quality needs --data")
    return options


def variants_of(options: argparse.Namespace) -> Iterator[Variant]:
    """Yield everything that is measured: models that are there, with the settings that suit them."""
    for preset, file in PUBLISHED.items():
        if options.published is not None:
            model = read_published_weights(options.published / file)
            yield from dense_variants(f"published {preset.removeprefix('paper-')}", preset, model)
    for preset in PRESETS:
        name = preset if options.models is None else str(options.models / f"{preset}{MODEL_SUFFIX}")
        if name not in shipped_models() and not Path(name).is_file():
            print(f"no model for {preset}")
            continue
        model = load_model(name)
        if model.header.kind == "dense":
            yield from dense_variants(f"ours {preset.removeprefix('paper-')}", preset, model)
            continue
        for psnr in WANTED_PSNR if options.table == "quality" else WANTED_PSNR[1:2]:
            settings = msgspec.structs.replace(settings_for(preset), psnr=psnr)
            yield Variant(f"ours {preset}, {psnr:.0f} dB", model, settings)


def dense_variants(label: str, preset: str, model: BlockModel) -> Iterator[Variant]:
    """Yield a model of the published kind with latents as published, and the same ones range coded."""
    settings = settings_for(preset)
    yield Variant(label, model, settings)
    coded = msgspec.structs.replace(settings, latents="quantised")
    yield Variant(f"{label}, latents range coded", model, coded)


def volume_files(folder: Path) -> list[Path]:
    """Return the volumes of a folder, by name."""
    return sorted(path for path in folder.iterdir() if path.suffix in {".npz", ".npy", ".vdb", ".nrrd"})


def quality_table(files: Sequence[Path], variants: Sequence[Variant]) -> Table:
    """Measure every volume with every variant."""
    rows: list[dict[str, Any]] = []
    for variant in variants:
        own = []
        for path in files:
            own.append(
                {"label": f"{path.stem}: {variant.label}", **measure_variant(measured_grid(path), variant)}
            )
            print(own[-1], flush=True)
        means = {
            field: statistics.fmean(row[field] for row in own if field in row)
            for field in MEANS
            if any(field in row for row in own)
        }
        rows.append({"label": f"mean of {len(own)}: {variant.label}", **means})
        rows += own
    rows.sort(key=lambda row: not row["label"].startswith("mean"))
    notes = [
        "Bits a voxel are those of a file without its model, which is stored in the file unless it ships "
        "with the package; 8, 16 or 32 by that number is the ratio to plain voxels. "
        "Where PSNR is a mean, it is the mean of dB."
    ]
    return Table("volume-vae", rows, notes)


def times_table(sizes: Sequence[tuple[int, int, int]], variants: Sequence[Variant]) -> Table:
    """Measure made volumes of some sizes."""
    rows = []
    for shape in sizes:
        grid = VolumeGrid("density", made_volume(shape))
        for variant in variants:
            measured = measure_variant(grid, variant)
            fields = {key: measured[key] for key in ("encode_seconds", "decode_seconds", "bits_per_voxel")}
            rows.append({"label": f"{' x '.join(map(str, shape))}: {variant.label}", **fields})
            print(rows[-1], flush=True)
    return Table("volume-vae-times", rows, ["Made volumes of 8 bits, noise of several scales."])


def made_volume(shape: tuple[int, int, int]) -> np.ndarray:
    """Return 8-bit noise whose lower third is cut off; a cube of 128 repeated."""
    cube = power_noise(128, np.random.default_rng(0), 2.0)
    values = np.clip(80.0 * (cube + 0.4), 0, 255).astype(np.uint8)
    tiled = np.tile(values, [-(-size // 128) for size in shape])
    return np.ascontiguousarray(tiled[: shape[0], : shape[1], : shape[2]])


if __name__ == "__main__":
    main()
