"""Trains the block VAE models that ship with the package.

    python scripts/train_volume_models.py --data FOLDER --out FOLDER
    python scripts/train_volume_models.py --data FOLDER --out FOLDER --only rate

Learns from made volumes, and from those of --data whose licence allows it: `SOURCES` names them. The volumes
on which results are measured are not among them. Stopped runs go on from their checkpoint in --out.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import msgspec

from scene_codec.codecs.volume_vae.config import TRAINING_PRESETS, training_settings_for
from scene_codec.codecs.volume_vae.model import MODEL_SUFFIX, ModelCard, save_model
from scene_codec.codecs.volume_vae.training import TrainingRun, train_block_vae
from scene_codec.codecs.volume_vae.training_blocks import TrainingVolume, training_volumes
from scene_codec.codecs.volume_vae.training_plot import LossPlot
from scene_codec.progress import Progress, ProgressEvent
from scene_codec.volumes.procedural import procedural_volumes
from scene_codec.volumes.volume_files import load_volume

SOURCES = {
    "manta_fire128_f16.vdb": "simulation of our own with Mantaflow, CC0",
    "tomhepz_grid0.vdb": "wave function, github:tomhepz/scivis-openvdb-blender, MIT",
    "carotid_f32.npz": "magnetic resonance angiography, github:pyvista/vtk-data carotid.vtk, BSD",
    "eun_mri.npz": "magnetic resonance of a brain, github:FNNDSC/data nifti/eun_brain, Apache-2.0",
}
"""File name, and what it is, where it comes from, its licence."""

STEPS = {
    "rate": 24_000,
    "paper-zero-margin": 75_000,
    "paper-two-wide": 40_000,
    "paper-more-parameters": 27_000,
}
"""Steps of each preset: about ten minutes of one CPU core for the first one, four for each of the others. The
published models saw 149 thousand batches, of 20 times more blocks."""

MADE = 60
MADE_SIDE = 96
MADE_SEED = 1


def main() -> None:
    """Train the wanted models one after the other."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="where the SOURCES lie")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where the models go")
    parser.add_argument("--only", choices=TRAINING_PRESETS, help="train this one alone")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    volumes = training_volumes([load_volume(options.data / name) for name in SOURCES])
    volumes += [
        TrainingVolume(name, values) for name, values in procedural_volumes(MADE, MADE_SIDE, MADE_SEED)
    ]
    lines = (
        *(f"{name}: {words}" for name, words in SOURCES.items()),
        f"{MADE} made volumes of {MADE_SIDE}^3",
    )
    for preset in TRAINING_PRESETS if options.only is None else [options.only]:
        target = options.out / f"{preset}{MODEL_SUFFIX}"
        run = TrainingRun(
            target.with_suffix(".checkpoint"), LossPlot(target.with_suffix(".png")), options.device
        )
        card = ModelCard(name=preset, data=lines)
        settings = msgspec.structs.replace(training_settings_for(preset), minimum_steps=STEPS[preset])
        data = train_block_vae(volumes, settings, card, Progress(show), run)
        save_model(target, data)
        target.with_suffix(".checkpoint").unlink(missing_ok=True)
        print(f"\n{target}: {len(data):,} bytes")


def show(event: ProgressEvent) -> None:
    """Show how far it is, on one line."""
    print(f"\r{event.fraction:6.1%} {event.stage} {event.message}", end="", flush=True)


if __name__ == "__main__":
    main()
